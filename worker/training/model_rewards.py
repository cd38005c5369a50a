"""Rewards that trained reward models give, here on the trainer's device; rules have processes of their own."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.domain.datasets import Template
from service.domain.rewards import RewardModelReward
from service.domain.specs import JobSpec
from worker.training import scorer
from worker.training.batching import Tokens
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.memory import Budget
from worker.training.models import Policy
from worker.training.preferences import ended
from worker.training.rewards.pool import Scored
from worker.training.rewards.registry import names
from worker.training.rollout import Responses
from worker.training.scorer import Scorer


class _Judge(NamedTuple):
    scorer: Scorer
    encoder: Encoder | None
    """None where the policy's own tokens can be read as they are."""


class ModelRewards:
    """The reward models that a job names, frozen."""

    def __init__(self, spec: JobSpec, paths: Mapping[str, str], policy: Policy) -> None:
        template: Template = "text" if spec.dataset.template == "text" else "auto"
        self._judges: dict[str, _Judge] = {}
        self._weights: dict[str, float] = {}
        for index, (name, reward) in enumerate(zip(names(spec.rewards), spec.rewards, strict=True)):
            self._weights[name] = reward.weight
            if isinstance(reward, RewardModelReward):
                made = scorer.load(paths[reward.model], f"rewards.{index}.model", spec, policy.device)
                alike = _read_alike(policy, made.policy)
                encoder = None if alike else Encoder(made.policy.tokenizer, template, "dataset")
                self._judges[name] = _Judge(made, encoder)

    def add_to(
        self, scored: list[Scored], rows: Sequence[Row], texts: Sequence[str], responses: Responses, budget: Budget
    ) -> list[Scored]:
        """What each response earned from the rules, with what the models say."""
        read = {name: _read(judge, rows, texts, responses) for name, judge in self._judges.items()}
        scores = {name: self._judges[name].scorer.within(budget, read[name]).tolist() for name in read}
        given = [{name: scores[name][row] for name in scores} for row in range(len(rows))]
        return [self._together(*each) for each in zip(scored, given, strict=True)] if scores else scored

    def _together(self, scored: Scored, given: dict[str, float]) -> Scored:
        """Parts in the order of the spec; nothing is earned where a rule failed."""
        parts = scored.parts | given
        more = sum(self._weights[name] * score for name, score in given.items())
        total = 0.0 if scored.error else scored.total + more
        return Scored(total, {name: parts[name] for name in self._weights}, scored.error)


def _read_alike(ours: Policy, theirs: Policy) -> bool:
    """Whether both models read the same ids for the same conversation."""
    templates = [getattr(policy.tokenizer, "chat_template", None) for policy in (ours, theirs)]
    return templates[0] == templates[1] and ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()


def _read(judge: _Judge, rows: Sequence[Row], texts: Sequence[str], responses: Responses) -> list[Tokens]:
    """Prompts and responses as the reward model reads them."""
    reader = judge.scorer.policy
    if judge.encoder is None:
        return [_fitting(sequence, reader.context) for sequence in responses.sequences]
    answered = [
        {"prompt": row["prompt"], "completion": text, "tools": row.get("tools")}
        for row, text in zip(rows, texts, strict=True)
    ]
    encoded = judge.encoder.pairs(answered, 2**31).sequences
    complete = [ended(sequence, reader.stops) for sequence in encoded]
    return [
        _fitting(_open(sequence, reader.stops) if cut else sequence, reader.context)
        for sequence, cut in zip(complete, responses.truncated, strict=True)
    ]


def _open(sequence: Tokens, stops: Sequence[int]) -> Tokens:
    """Without its end of sequence: the response was cut off before it."""
    prompt, completion = sequence.prompt, sequence.completion
    return Tokens(prompt, completion[:-1] if completion[-1] in stops else completion)


def _fitting(sequence: Tokens, limit: int) -> Tokens:
    """Without its beginning, if it is too long."""
    over = max(0, sequence.total - limit)
    prompt, completion = sequence.prompt, sequence.completion
    return Tokens(prompt[over:], completion[max(0, over - len(prompt)) :])
