"""From a reward's schema to its function."""

from collections.abc import Callable, Sequence
from typing import Any

from service.domain.rewards import AnyReward
from worker.training.rewards import mathematics, text
from worker.training.rewards.kinds import RewardFunction

BUILDERS: dict[str, Callable[[Any], RewardFunction]] = {
    "exact": text.exact,
    "numeric": mathematics.numeric,
    "math": mathematics.math,
    "regex": text.regex,
    "format": text.format_,
}


def build(spec: AnyReward) -> RewardFunction:
    """The function that a schema describes."""
    return BUILDERS[spec.type](spec)


def names(specs: Sequence[AnyReward]) -> list[str]:
    """What the parts of a score are called: the types, the second of a kind with a number (`regex`, `regex_2`)."""
    types = [spec.type for spec in specs]
    counts = [types[: i + 1].count(kind) for i, kind in enumerate(types)]
    return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(types, counts, strict=True)]
