from typing import Any

import pytest

from service.domain.rewards import FormatReward, ToolUseReward
from worker.training.rewards.registry import build

CALL = "<think>so</think><tool_call>{}</tool_call>"
LAST = "<think>so</think><answer>1</answer>"


def used(calls: int, errors: int = 0, **row: Any) -> dict[str, Any]:
    return {"tool_calls": calls, "tool_errors": errors, "difficulty": 2} | row


def test_it_is_the_share_of_calls_that_succeeded() -> None:
    score = build(ToolUseReward())
    assert [score("", "", used(2)), score("", "", used(2, 1)), score("", "", used(1, 1))] == [1.0, 0.5, 0.0]


def test_calls_beyond_what_the_row_needs_cost_up_to_three_times() -> None:
    score = build(ToolUseReward(extra_penalty=0.5))
    assert [score("", "", used(calls)) for calls in (3, 4, 5, 6)] == [0.5, 0.0, -0.5, -0.5]
    assert build(ToolUseReward(expected=None))("", "", used(9)) == 1.0


def test_no_call_earns_what_the_spec_says() -> None:
    assert build(ToolUseReward())("", "", used(0)) == 0.0
    assert build(ToolUseReward(without_calls=-3.6))("", "", used(0)) == -3.6


def test_a_row_that_does_not_say_how_many_calls_it_needs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no number of calls"):
        build(ToolUseReward(expected="calls"))("", "", used(1))


def test_linalgzeros_sum_is_that_of_three_rewards() -> None:
    """correct + 0.1 format + 0.1 success - 0.1 min(extra, 3): a right answer after 4 calls, one of which failed."""
    tool_use = 0.1 * build(ToolUseReward())("", "", used(4, 1))
    assert 1.0 + 0.1 + tool_use == pytest.approx(1.0 + 0.1 + 0.1 * 0.75 - 0.1 * 2)


@pytest.mark.parametrize(
    ("turns", "score"),
    [
        ([LAST], 1),
        ([CALL, LAST], 1),
        ([CALL, CALL, LAST], 1),
        ([CALL], 0),
        ([LAST, LAST], 0),
        (["<tool_call>{}</tool_call>", LAST], 0),
        ([CALL + CALL, LAST], 0),
        ([CALL, "<answer>1</answer>"], 0),
    ],
)
def test_with_tools_every_turn_has_its_format(turns: list[str], score: int) -> None:
    assert build(FormatReward())("", "whatever", {"tool_turns": turns}) == score
