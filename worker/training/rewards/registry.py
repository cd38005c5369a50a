"""From a reward's schema to its function."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from service.domain.rewards import AnyReward
from worker.training.rewards import mathematics, text, tool_use
from worker.training.rewards.kinds import RewardFunction

BUILDERS: dict[str, Callable[[Any], RewardFunction]] = {
    "exact": text.exact,
    "numeric": mathematics.numeric,
    "math": mathematics.math,
    "regex": text.regex,
    "format": text.format_,
    "tool_use": tool_use.tool_use,
}


def build(spec: AnyReward) -> RewardFunction:
    """The function that a schema describes."""
    return BUILDERS[spec.type](spec)


def rules(specs: Iterable[AnyReward]) -> list[AnyReward]:
    """Those that a function gives; the others are scored by models, where the models are."""
    return [spec for spec in specs if spec.type in BUILDERS]


def names(specs: Sequence[AnyReward]) -> list[str]:
    """What the parts of a score are called: the types, the second of a kind with a number (`regex`, `regex_2`)."""
    types = [spec.type for spec in specs]
    counts = [types[: i + 1].count(kind) for i, kind in enumerate(types)]
    return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(types, counts, strict=True)]
