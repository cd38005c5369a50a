"""Rows in the shapes that other tools write: read as ours where they have one meaning, refused by name where not."""

import json
import random
from typing import Any

import pytest

from service.domain.column_mapping import MissingColumn
from service.domain.conversions import read
from service.domain.rows import check
from service.domain.shapes import problem_of_columns, shapes_of


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


CALL = {"name": "add", "arguments": {"a": 1}}
ADDING = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL}]}


def converted(row: dict[str, Any], **columns: str) -> dict[str, Any]:
    """The row as it is used: it must be usable."""
    reading = read(row, columns)  # type: ignore[arg-type]
    assert reading.unread is None
    assert shapes_of(reading.row)
    assert problem_of_columns(reading.row) is None
    return reading.row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {"id": 1, "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            {"id": 1, "messages": [user("q"), assistant("a")]},
            id="ShareGPT",
        ),
        pytest.param(
            {"system": "s", "conversation": [user("q"), assistant("a")]},
            {"messages": [system("s"), user("q"), assistant("a")]},
            id="ShareGPT with a system and roles",
        ),
        pytest.param(
            {
                "tools": '[{"name": "add"}]',
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": json.dumps(CALL)},
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "a", "weight": 1},
                ],
            },
            {
                "tools": [{"name": "add"}],
                "messages": [user("q"), ADDING, {"role": "tool", "content": "1"}, assistant("a") | {"weight": 1}],
            },
            id="ShareGPT with tools",
        ),
        pytest.param(
            {"instruction": "i", "input": "x", "output": "o"}, {"prompt": "i\n\nx", "completion": "o"}, id="Alpaca"
        ),
        pytest.param(
            {"instruction": "i", "input": "", "output": "o"}, {"prompt": "i", "completion": "o"}, id="Alpaca, no input"
        ),
        pytest.param(
            {"instruction": "i", "output": "o", "text": "### Instruction:\ni\n\n### Response:\no"},
            {"prompt": "i", "completion": "o", "text": "### Instruction:\ni\n\n### Response:\no"},
            id="Alpaca with the whole text",
        ),
        pytest.param(
            {"instruction": "i", "context": "c", "response": "r", "category": "qa"},
            {"prompt": "i\n\nc", "completion": "r", "category": "qa"},
            id="Dolly",
        ),
        pytest.param(
            {"system_prompt": "s", "question": "q", "response": "r"},
            {"prompt": [system("s"), user("q")], "completion": "r"},
            id="OpenOrca",
        ),
        pytest.param({"question": "q", "answer": "a"}, {"prompt": "q", "answer": "a", "completion": "a"}, id="GSM8K"),
        pytest.param({"question": "q", "answer": 7}, {"prompt": "q", "answer": 7, "completion": "7"}, id="a number"),
        pytest.param({"query": "q", "response": "r"}, {"prompt": "q", "completion": "r"}, id="query and response"),
        pytest.param({"prompt": "q", "response": "r"}, {"prompt": "q", "completion": "r"}, id="prompt and response"),
        pytest.param({"input": "q", "output": "r"}, {"prompt": "q", "completion": "r"}, id="input and output"),
        pytest.param(
            {"prompt": "q", "solution": "s"},
            {"prompt": "q", "solution": "s", "answer": "s", "completion": "s"},
            id="prompt and solution",
        ),
        pytest.param(
            {"problem": "q", "solution": "s", "answer": "a"},
            {"prompt": "q", "solution": "s", "answer": "a", "completion": "s"},
            id="OpenR1: a worked solution and its answer",
        ),
        pytest.param(
            {"problem": "q", "solution": "s", "messages": [user("q"), assistant("s")]},
            {
                "prompt": "q",
                "solution": "s",
                "answer": "s",
                "completion": "s",
                "messages": [user("q"), assistant("s")],
            },
            id="NuminaMath: messages that say the same",
        ),
        pytest.param(
            {"prompt": [user("q")], "reward_model": {"style": "rule", "ground_truth": "4"}, "extra_info": {"index": 1}},
            {
                "prompt": [user("q")],
                "reward_model": {"style": "rule", "ground_truth": "4"},
                "extra_info": {"index": 1},
                "answer": "4",
            },
            id="verl",
        ),
        pytest.param(
            {"prompt": "q", "ground_truth": "4"}, {"prompt": "q", "ground_truth": "4", "answer": "4"}, id="truth"
        ),
        pytest.param(
            {
                "input": {"messages": [user("q")], "tools": [{"type": "function"}], "parallel_tool_calls": True},
                "preferred_output": [assistant("a")],
                "non_preferred_output": [assistant("b")],
            },
            {
                "prompt": [user("q")],
                "chosen": [assistant("a")],
                "rejected": [assistant("b")],
                "tools": [{"type": "function"}],
            },
            id="OpenAI's preferences",
        ),
        pytest.param(
            {"prompt": "q", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")], "score": 1},
            {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")], "score": 1},
            id="UltraFeedback",
        ),
        pytest.param(
            {
                "prompt": [system("s"), user("q")],
                "chosen": [system("s"), user("q"), assistant("a")],
                "rejected": [system("s"), user("q"), assistant("b")],
            },
            {
                "chosen": [system("s"), user("q"), assistant("a")],
                "rejected": [system("s"), user("q"), assistant("b")],
            },
            id="whole conversations after messages",
        ),
        pytest.param(
            {"prompt": "q", "chosen": [assistant("a")], "rejected": [assistant("b")]},
            {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
            id="answers as messages",
        ),
        pytest.param(
            {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
            {"prompt": [system("s"), user("q")], "chosen": "a", "rejected": "b"},
            id="Orca's pairs",
        ),
        pytest.param(
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
            id="ShareGPT's pairs",
        ),
        pytest.param(
            {"chosen": "\n\nHuman: q\n\nAssistant: a\n\nb", "rejected": "\n\nHuman: q\n\nAssistant: c"},
            {"chosen": [user("q"), assistant("a\n\nb")], "rejected": [user("q"), assistant("c")]},
            id="Anthropic's pairs",
        ),
        pytest.param(
            {"messages": [{"role": "developer", "content": "s"}, user("q"), assistant("a")]},
            {"messages": [system("s"), user("q"), assistant("a")]},
            id="developer",
        ),
        pytest.param(
            {
                "messages": [
                    user("q"),
                    {"role": "assistant", "content": None, "function_call": CALL},
                    {"role": "function", "name": "add", "content": "1"},
                    assistant("a"),
                ],
                "functions": [{"name": "add"}],
            },
            {
                "messages": [user("q"), ADDING, {"role": "tool", "name": "add", "content": "1"}, assistant("a")],
                "tools": [{"type": "function", "function": {"name": "add"}}],
            },
            id="functions before tools",
        ),
        pytest.param(
            {"messages": [user("q"), assistant("a")], "tools": '[{"type": "function"}]'},
            {"messages": [user("q"), assistant("a")], "tools": [{"type": "function"}]},
            id="tools as a string",
        ),
        pytest.param({"question": "q"}, {"prompt": "q"}, id="a question alone"),
    ],
)
def test_a_row_of_another_tool_is_read_as_ours(row: dict[str, Any], expected: dict[str, Any]) -> None:
    before = json.dumps(row)
    assert converted(row) == expected
    assert json.dumps(row) == before, "the row of the file has changed"
    report = check([json.dumps(row).encode()])
    assert report.problem_count == 0
    assert report.columns == list(row)
    assert report.shapes == shapes_of(expected)
    assert report.notes, "a conversion is told of"
    assert converted(expected) == expected, "what was read once reads the same again"


@pytest.mark.parametrize(
    ("row", "readings"),
    [
        ({"question": "a", "query": "b", "answer": "c"}, ["{prompt: question}", "{prompt: query}"]),
        ({"instruction": "a", "question": "b", "output": "c"}, ["{prompt: instruction}", "{prompt: question}"]),
        ({"prompt": "a", "response": "b", "output": "c"}, ["{completion: response}", "{completion: output}"]),
        (
            {"prompt": "a", "answer": "1", "reward_model": {"ground_truth": "2"}},
            ["{answer: reward_model.ground_truth}", "{answer: answer}"],
        ),
        ({"prompt": "a", "ground_truth": "1", "reward_model": {"ground_truth": "2"}}, ["{answer: ground_truth}"]),
        ({"question": "a", "context": "b", "answer": "c"}, ["`context`", "{prompt: COLUMN}"]),
        ({"prompt": "a", "input": "b", "response": "c"}, ["`input`", "{prompt: COLUMN}"]),
        ({"query": "a", "history": [["b", "c"]], "response": "d"}, ["`history`"]),
        ({"instruction": "a", "output": "b", "text": "c"}, ["{text: text}", "{prompt: COLUMN, completion: COLUMN}"]),
        (
            {"problem": "a", "solution": "b", "messages": [user("a"), assistant("c")]},
            ["{messages: messages}", "{prompt: COLUMN, completion: COLUMN}"],
        ),
        (
            {"prompt": "a", "completion": "b", "messages": [user("a"), assistant("c")]},
            ["{messages: messages}", "{prompt: COLUMN, completion: COLUMN}"],
        ),
        (
            {"prompt": "x", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
            ["{chosen: chosen, rejected: rejected}"],
        ),
    ],
)
def test_a_row_with_two_meanings_has_no_shape_and_both_are_named(row: dict[str, Any], readings: list[str]) -> None:
    report = check([json.dumps(row).encode()])
    assert (report.shapes, report.problem_count) == ([], 0)
    assert all(reading in report.notes[-1] for reading in readings)
    assert "dataset.columns" in report.notes[-1]


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"q": "a", "s": "b", "id": 1}, {"prompt": "q", "answer": "s"}, {"id": 1, "prompt": "a", "answer": "b"}),
        (
            {"question": "a", "query": "b", "answer": "c"},
            {"prompt": "query"},
            {"question": "a", "prompt": "b", "answer": "c"},
        ),
        (
            {"x": {"y": {"z": "4"}}, "prompt": "a"},
            {"answer": "x.y.z"},
            {"x": {"y": {"z": "4"}}, "prompt": "a", "answer": "4"},
        ),
        (
            {"x.y": "4", "x": {"y": "5"}, "prompt": "a"},
            {"answer": "x.y"},
            {"x": {"y": "5"}, "prompt": "a", "answer": "4"},
        ),
        (
            {"prompt": "a", "completion": "b"},
            {"prompt": "completion", "completion": "prompt"},
            {"prompt": "b", "completion": "a"},
        ),
        ({"prompt": "a", "answer": "b"}, {"completion": "answer"}, {"prompt": "a", "completion": "b"}),
        (
            {"dialog": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            {"messages": "dialog"},
            {"messages": [user("q"), assistant("a")]},
        ),
        (
            {"instruction": "a", "input": "x", "output": "b", "text": "c"},
            {"prompt": "instruction", "completion": "output"},
            {"input": "x", "prompt": "a", "completion": "b"},
        ),
        (
            {"instruction": "a", "output": "b", "text": "c"},
            {"text": "text"},
            {"instruction": "a", "output": "b", "text": "c"},
        ),
        (
            {"prompt": "a", "completion": "b", "messages": [user("a"), assistant("c")]},
            {"messages": "messages"},
            {"messages": [user("a"), assistant("c")]},
        ),
        (
            {"prompt": "x", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
            {"chosen": "chosen", "rejected": "rejected"},
            {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        ),
    ],
)
def test_a_mapping_says_which_columns_are_meant(
    row: dict[str, Any], columns: dict[str, str], expected: dict[str, Any]
) -> None:
    assert converted(row, **columns) == expected


def test_a_column_that_a_mapping_names_must_be_there() -> None:
    with pytest.raises(MissingColumn, match=r"has no 'b\.c', which columns\.answer names; its columns are 'a', 'b'"):
        read({"a": "x", "b": {"d": 1}}, {"prompt": "a", "answer": "b.c"})


NAMES = [
    *(
        "prompt",
        "completion",
        "answer",
        "messages",
        "tools",
        "chosen",
        "rejected",
        "margin",
        "text",
        "question",
        "query",
    ),
    *("instruction", "input", "output", "response", "solution", "context", "system", "history", "conversations"),
    *("reward_model", "ground_truth", "functions", "preferred_output", "non_preferred_output"),
]


def test_whatever_a_column_holds_a_row_is_read_or_refused_and_never_breaks_the_reader() -> None:
    chance = random.Random(0)
    scalars: list[Any] = [None, True, 0, -3, 1e300, 10**400, "", "  ", "text", "[1]", "null"]

    def value(depth: int) -> Any:
        kind = chance.randrange(9)
        if depth == 0 or kind < 4:
            return chance.choice(scalars)
        if kind == 4:
            return [value(depth - 1) for _ in range(chance.randrange(3))]
        if kind == 5:
            names = ("role", "content", "from", "value", "messages", "ground_truth", "name", "function_call")
            return {name: value(depth - 1) for name in chance.sample(names, 3)}
        speaker = chance.choice(["user", "assistant", "human", "gpt", "developer", "system", "function", "tool", 3])
        turn = {"role": speaker, "content": value(0)} if kind < 8 else {"from": speaker, "value": value(1)}
        return [turn, *[assistant("a")] * chance.randrange(2)]

    for _ in range(4000):
        row = {name: value(3) for name in chance.sample(NAMES, chance.randrange(1, 5))}
        report = check([json.dumps(row).encode()])
        assert report.shapes or report.notes or report.problems
