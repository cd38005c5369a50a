"""Warnings about runs that learn nothing: responses cut off, or prompts whose responses all earn the same."""

from typing import NamedTuple

STEPS = 5


class Limit(NamedTuple):
    """A metric, the value above which it is bad, and what to do about it."""

    metric: str
    above: float
    what: str
    remedy: str


LIMITS = (
    Limit("policy/truncated", 0.5, "of the responses are cut off", "raise algorithm.max_completion_length"),
    Limit(
        "policy/zero_variance",
        0.8,
        "of the prompts have responses that all earned the same, which teaches nothing",
        "use easier or harder prompts, a finer reward, more num_generations, or zero_variance: resample",
    ),
)


class Watch:
    """Says so once a share has been high for some steps in a row, and again only after it has been lower."""

    def __init__(self) -> None:
        self._high = dict.fromkeys((limit.metric for limit in LIMITS), 0)

    def look(self, metrics: dict[str, float]) -> list[str]:
        """Take in a step."""
        warnings = []
        for limit in LIMITS:
            value = metrics.get(limit.metric)
            if value is None:
                continue
            self._high[limit.metric] = self._high[limit.metric] + 1 if value > limit.above else 0
            if self._high[limit.metric] == STEPS:
                warnings.append(
                    f"{limit.metric}: for {STEPS} steps, more than {limit.above:.0%} {limit.what}; {limit.remedy}"
                )
        return warnings

    def state(self) -> dict[str, int]:
        """What the next look depends on."""
        return dict(self._high)

    def restore(self, state: dict[str, int]) -> None:
        """Put back what `state` gave."""
        self._high.update(state)
