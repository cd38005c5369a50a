"""Reward functions by the schema that names them. Rewards that models give are not here: see `model_rewards.py`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from service.domain.algorithms import PolicySpec
from service.domain.effect_rules import gates_by_outcome, outcome_reward
from service.domain.rewards import AnswerReward, AnyReward, Reward
from service.domain.specs import JobSpec
from worker.training.registry import Registry

RewardFunction = Callable[[str, str, Mapping[str, Any]], float]
"""`(prompt, response, row) -> score`"""
RULES: Registry[type[Reward], Callable[[Any], RewardFunction]] = Registry("reward", "worker.training.rewards.rules")
rule = RULES.entry
"""`@rule(ExactReward)`: declares the function that makes a reward function of the schema."""


class Legibility(StrEnum):
    """What a rule can do with the answer of a row."""

    READ = "read"
    """Compare it with what responses say."""
    TEXT = "text"
    """Compare its characters only: no parser reads it."""
    UNPARSED = "unparsed"
    """It may be either: the parser was not asked."""


class Reader(Protocol):
    """Reads what a rule needs of a row; ValueError with what is wrong with it."""

    def __call__(self, row: Mapping[str, Any], *, parse: bool) -> Legibility:
        """Without `parse`, a parser that takes milliseconds is not asked."""


READERS: Registry[type[Reward], Callable[[Any], Reader]] = Registry("reader", "worker.training.rewards.rules")
reader = READERS.entry
"""`@reader(ExactReward)`: declares the function that makes a reader for the schema; others read nothing."""
TURNS, CALLS, ERRORS, ANSWERING_TURN = "tool_turns", "tool_calls", "tool_errors", "answering_turn"
"""Columns that a row also has where there are tools: the policy's turns; its calls; the calls that failed; the turn in
which it may answer, the last one without a call."""


def build(spec: AnyReward) -> RewardFunction:
    """The function that a schema describes. One that looks for an answer reads the answering turn alone."""
    function = RULES[type(spec)](spec)
    if not isinstance(spec, AnswerReward):
        return function
    return lambda prompt, response, row: function(prompt, row.get(ANSWERING_TURN, response), row)


def build_reader(spec: AnyReward) -> Reader | None:
    """The function that reads what a rule needs of a row; None for a rule that needs nothing."""
    return READERS[type(spec)](spec) if type(spec) in READERS else None


def rules(specs: Iterable[AnyReward]) -> list[AnyReward]:
    """The rewards that a function gives; the others are given by models."""
    return [spec for spec in specs if type(spec) in RULES]


def zero_variance_reward(job: JobSpec) -> str | None:
    """The name of the reward by which a group has zero variance; None: the whole reward, shaping included."""
    if not isinstance(job.algorithm, PolicySpec) or job.algorithm.zero_variance_by == "reward":
        return None
    return names(job.rewards)[outcome_reward(job) or 0] if gates_by_outcome(job) else None


def names(specs: Sequence[AnyReward]) -> list[str]:
    """What the parts of a score are called: the types, the second of a type with a number (`regex`, `regex_2`)."""
    types = [spec.type for spec in specs]
    counts = [types[: i + 1].count(kind) for i, kind in enumerate(types)]
    return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(types, counts, strict=True)]
