"""With tools an answer counts in the last turn alone, and only if that turn calls no tool."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from worker.training.decoding.generate import Responses, ToolUse
from worker.training.experience.scoring import score_responses
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup
from worker.training.tools.calls import answering_turn

CALL = '<tool_call>{"name":"matrix_trace","arguments":{"matrix":[[7]]}}</tool_call>'
THOUGHT, OUTPUT = "<think>so</think>", "\n<tool_response>7</tool_response>\n"
RIGHT, WRONG = "<answer>7</answer>", "<answer>8</answer>"
REWARDS = [
    {"type": "math"},
    {"type": "exact"},
    {"type": "numeric", "extract": "number"},
    {"type": "format"},
    {"type": "tool_use", "expected": None},
    {"type": "regex", "pattern": "<tool_response>7"},
]


def scores(make_setup: Callable[..., Setup], *turns: str, truncated: bool = False) -> dict[str, float]:
    """The scores of a response of these turns, with the tool's output in between; the row's answer is 7."""
    setup = make_setup("grpo", tools={}, rewards=REWARDS)
    words: Any = setup.policy.tokenizer
    ids = words(OUTPUT.join(turns), add_special_tokens=False)["input_ids"]
    use = ToolUse(len(turns) - 1, 0, list(turns))
    responses = Responses([Tokens([5], ids)], torch.zeros(1, len(ids)), torch.zeros(()), [truncated], [use])
    (score,) = score_responses(setup, [{"prompt": "trace [[7]]", "answer": "7"}], responses).scores
    assert score.error is None
    return score.parts


def test_an_answer_in_the_last_turn_counts(make_setup: Callable[..., Setup]) -> None:
    parts = scores(make_setup, THOUGHT + CALL, THOUGHT + RIGHT)
    assert (parts["math"], parts["exact"], parts["numeric"], parts["format"], parts["tool_use"]) == (1, 1, 1, 1, 1)
    assert parts["regex"] == 1  # which looks at everything


@pytest.mark.parametrize(
    "turns",
    [
        (THOUGHT + RIGHT + CALL, THOUGHT),  # an answer first, then the call that would have found it
        (THOUGHT + RIGHT + CALL, THOUGHT + WRONG),
        (THOUGHT + RIGHT + CALL,),  # nothing behind the call: its output filled the limit, or it was one too many
        (THOUGHT + CALL, THOUGHT),  # the tool says 7, the policy nothing
    ],
)
def test_an_answer_beside_a_call_and_what_a_tool_says_do_not(make_setup: Callable[..., Setup], turns: Any) -> None:
    parts = scores(make_setup, *turns)
    assert (parts["math"], parts["exact"], parts["numeric"], parts["format"]) == (0, 0, 0, 0)


def test_where_a_limit_cut_the_response_off_a_call_may_have_been_open() -> None:
    begun = RIGHT + '<tool_call>{"name"'
    assert answering_turn([begun], truncated=True) == ""
    assert answering_turn([begun], truncated=False) == begun  # it has ended: no tool was called
    assert answering_turn([CALL, RIGHT], truncated=True) == RIGHT
    assert answering_turn([RIGHT, CALL], truncated=False) == ""
