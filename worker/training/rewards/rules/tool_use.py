"""The reward that looks at calls of tools.

LinAlgZero's reward is (correct + 0.1 format + 0.1 success - 0.1 min(extra, 3)) / 1.2, and -0.3 for a response without
a call. The sum in the parentheses is `math` with weight 1, `format` and `tool_use` with 0.1 each. Not the same: there
-0.3 replaces everything, here `without_calls: -3.6` makes it so for a wrong answer, while a right one still earns its
1; a response that was stopped earns -1 there, here what its calls earn; and there the format counts turn by turn.
"""

from collections.abc import Mapping
from typing import Any

from service.domain.rewards import ToolUseReward
from worker.training.rewards.registry import CALLS, ERRORS, Legibility, Reader, RewardFunction, reader, rule

MAX_EXTRA_CALLS = 3


@rule(ToolUseReward)
def tool_use(spec: ToolUseReward) -> RewardFunction:
    """The share of successful calls, less the penalty for those that were not needed."""

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        calls, errors = row[CALLS], row[ERRORS]
        if not calls:
            return spec.without_calls
        extra = 0 if spec.expected is None else max(0, calls - _expected(row, spec.expected))
        return float((calls - errors) / calls - spec.extra_penalty * min(extra, MAX_EXTRA_CALLS))

    return score


@reader(ToolUseReward)
def read_tool_use(spec: ToolUseReward) -> Reader:
    """The number of calls that the row needs."""

    def read(row: Mapping[str, Any], *, parse: bool) -> Legibility:
        if spec.expected is not None:
            _expected(row, spec.expected)
        return Legibility.READ

    return read


def _expected(row: Mapping[str, Any], column: str) -> int:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the row's {column!r} is {value!r}, no number of calls; set the reward's `expected`")
    return int(value)
