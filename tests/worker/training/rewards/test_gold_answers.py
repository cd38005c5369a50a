"""Answers of rows that no response could satisfy are refused before the first step."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hone.errors import Invalid
from service.domain.rewards import AnyReward, ExactReward, MathReward, NumericReward, RegexReward, ToolUseReward
from worker.protocol import Assignment, Step, Warned
from worker.training.rewards import gold_answers
from worker.training.rewards.pool import RewardPool


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, RewardPool]]:
    rewards: dict[str, AnyReward] = {
        "math": MathReward(),
        "numeric": NumericReward(),
        "exact": ExactReward(),
        "tool_use": ToolUseReward(),
        "regex": RegexReward(pattern="7"),
    }
    pools = {name: RewardPool([reward], processes=1, deadline_seconds=20) for name, reward in rewards.items()}
    yield pools
    for pool in pools.values():
        pool.close()


def examined(pool: RewardPool, *answers: Any) -> tuple[dict[int, str], list[int]]:
    return gold_answers.examine(pool, {i: {"prompt": "p", "answer": answer} for i, answer in enumerate(answers)})


READABLE = [
    "72",
    7,
    7.5,
    "Natalia sold 48/2 = 24 clips in May.\n#### 72",
    "The answer is 12.",
    r"so we get $x = \boxed{3}$.",
    "$18",
    "18 dollars",
]
VALUES = [
    [[1, 2], [3, 4]],
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    "Monday",
    "no solution",
    "B",
    "x^2+1",
    r"1 \pm \sqrt{2}",
    "x = 7",
    "x > 5",
    r"\{x \mid x > 2\}",
    "(1, 2]",
    "6 or 7",
    "[" + ", ".join(["1/2"] * 150) + "]",
]
BAD: list[tuple[Any, str]] = [
    (None, "is null"),
    ("", "is empty"),
    (["1/2", "0.5"], "a list of other things than numbers"),
    ({"value": 1}, "an object"),
    (float("nan"), "no finite number"),
]
NO_VALUES: list[tuple[Any, str]] = [
    ("nan", "no value is given"),
    ("Natalia sold 48/2 = 24 clips in May.", "no value is given"),
    ("It was built in 1889 and opened in May.", "no value is given"),
    (r"\frac{1}{2", "does not close"),
    ("[[1, 2], [3, 4]", "does not close"),
    ("9^{9^{9^9}}", "too large to evaluate"),
]


def test_what_can_be_judged_is_accepted(pools: dict[str, RewardPool]) -> None:
    assert examined(pools["math"], *READABLE, *VALUES) == ({}, [])
    assert examined(pools["numeric"], *READABLE) == ({}, [])
    assert examined(pools["exact"], *READABLE, *VALUES) == ({}, [])


def test_what_no_response_could_answer_is_found_with_its_reason(pools: dict[str, RewardPool]) -> None:
    problems, _ = examined(pools["math"], *[answer for answer, _ in BAD + NO_VALUES])
    assert list(problems) == list(range(len(BAD + NO_VALUES)))
    assert all(reason in problems[i] for i, (_, reason) in enumerate(BAD + NO_VALUES))
    for name in ("numeric", "exact"):
        problems, _ = examined(pools[name], *[answer for answer, _ in BAD], "7")
        assert list(problems) == list(range(len(BAD)))


def test_numeric_wants_numbers(pools: dict[str, RewardPool]) -> None:
    problems, _ = examined(pools["numeric"], "7", *VALUES)
    assert 0 not in problems
    assert "'Monday' is not a number; use the reward 'math' or 'exact'" in problems[1 + VALUES.index("Monday")]


def test_what_only_the_same_text_answers_is_warned_of(pools: dict[str, RewardPool]) -> None:
    rows = {i: {"answer": answer} for i, answer in enumerate(["7", r"x \equiv 3 \pmod{7}", "1/0", "8"])}
    (note,) = gold_answers.check(pools["math"], rows, "dataset")
    assert (note.code, note.param) == ("answers_as_text", "dataset")
    assert "does not read the answers of rows 2 and 3," in note.message


def test_tool_use_wants_the_number_of_calls(pools: dict[str, RewardPool]) -> None:
    problems, _ = gold_answers.examine(pools["tool_use"], {0: {"difficulty": 2}, 1: {"difficulty": "two"}, 2: {}})
    assert list(problems) == [1, 2]


def test_rules_that_read_no_answer_need_none(pools: dict[str, RewardPool]) -> None:
    assert examined(pools["regex"], None, "") == ({}, [])


def test_an_answer_that_hangs_the_parser_is_refused_and_the_others_are_read() -> None:
    hanging = r"\prod_{k=1}^{99999} \sin k"
    with RewardPool([MathReward()], processes=1, deadline_seconds=1) as pool:
        problems, _ = examined(pool, "x^2", hanging, "x^3")
    assert problems == {1: "math: no answer within 1.0 s"}


def test_all_bad_rows_are_counted_and_the_first_named(pools: dict[str, RewardPool]) -> None:
    rows = {i: {"prompt": "p", "answer": "x" if i % 2 else i} for i in range(40)}
    with pytest.raises(Invalid, match=r"dataset: rows 2, 4, 6, 8, 10 and 15 more cannot be judged\. Row 2: ") as caught:
        gold_answers.check(pools["numeric"], rows, "dataset")
    assert caught.value.param == "dataset"


Assign = Callable[..., Assignment]


def run(assignment: Assignment, rows: list[dict[str, Any]]) -> list[Any]:
    from worker.training import loop

    path = Path(assignment.directory) / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assignment.files = {"file-1": str(path)}
    return list(loop.run(assignment, lambda: None))


FILE = {"source": "file-1"}
ROWS = [{"prompt": "1+1", "answer": "2"}, {"prompt": "2+2", "answer": "She had 4 apples, and ate 3."}]


@pytest.mark.parametrize("field", ["dataset", "eval_dataset"])
def test_a_job_with_an_answer_that_cannot_be_judged_is_refused(assign: Assign, field: str) -> None:
    spec = {"rewards": [{"type": "math"}], field: FILE, "evaluation": {"max_completion_length": 4}}
    with pytest.raises(Invalid, match=rf"^{field}: row 2 cannot be judged\. Row 2: math: the row's answer 'She had"):
        run(assign("grpo", steps=1, **spec), ROWS)


def test_an_evaluation_that_nobody_asked_to_judge_by_math_is_only_warned_of(assign: Assign) -> None:
    settings = {"max_completion_length": 4}
    events = run(assign("sft", steps=1, eval_dataset=FILE, evaluation=settings), ROWS)
    notes = {event.note.code: event.note for event in events if isinstance(event, Warned)}
    assert notes["answers_unreadable"].message.startswith("eval_dataset: row 2 cannot be judged. Row 2: math: ")
    assert any(isinstance(event, Step) for event in events)
