"""Columns that change what a row says: they are read, contained in its texts, or refused."""

from json import dumps
from typing import Any

import pytest

from service.domain.conversions import read
from service.domain.rows import check

ASKED, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}


def row_of(row: dict[str, Any], columns: Any = None) -> dict[str, Any]:
    reading = read(row, columns or {})
    assert reading.unread is None, reading.unread
    return reading.row


def refusal(row: dict[str, Any], columns: Any = None) -> str:
    unread = read(row, columns or {}).unread
    assert unread is not None
    return unread


@pytest.mark.parametrize("name", ["system", "system_prompt"])
@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"prompt": "a", "completion": "b"}, "prompt"),
        ({"prompt": "a", "answer": "b"}, "prompt"),
        ({"prompt": "a"}, "prompt"),
        ({"prompt": [ASKED], "completion": "b"}, "prompt"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "prompt"),
        ({"messages": [ASKED, SAID]}, "messages"),
        ({"question": "a", "answer": "b"}, "prompt"),
        ({"instruction": "a", "output": "b"}, "prompt"),
    ],
    ids=str,
)
def test_the_systems_message_is_read_in_every_shape(row: dict[str, Any], column: str, name: str) -> None:
    converted = row_of(row | {name: "s"})
    assert converted[column][:2] == [SYSTEM, ASKED] and name not in converted


def test_the_systems_message_is_in_front_of_both_conversations_of_a_pair() -> None:
    converted = row_of({"chosen": [ASKED, SAID], "rejected": [ASKED, ASKED], "system": "s"})
    assert converted["chosen"] == [SYSTEM, ASKED, SAID] and converted["rejected"] == [SYSTEM, ASKED, ASKED]


def test_a_systems_message_that_is_there_already_stays_the_only_one() -> None:
    row = {"messages": [SYSTEM, ASKED, SAID], "system": "s"}
    assert row_of(row)["messages"] == row["messages"]
    assert "begin with another message of the system" in refusal(row | {"system": "t"})


@pytest.mark.parametrize("empty", [None, "", " ", []])
def test_an_empty_system_is_none(empty: Any) -> None:
    assert row_of({"prompt": "a", "completion": "b", "system": empty})["prompt"] == "a"


def test_a_system_that_is_no_text_is_refused() -> None:
    assert "has `system`, which is no text" in refusal({"prompt": "a", "completion": "b", "system": {"a": 1}})


def test_a_mapping_names_the_system_or_leaves_it_out() -> None:
    row = {"q": "a", "a": "b", "rules": "s", "system": "t"}
    assert row_of(row, {"prompt": "q", "completion": "a"})["prompt"] == "a"
    assert row_of(row, {"prompt": "q", "completion": "a", "system": "rules"})["prompt"] == [SYSTEM, ASKED]


@pytest.mark.parametrize(
    "column",
    [
        {"choices": ["yes", "no"]},
        {"options": {"A": "yes", "B": 2}},
        {"images": ["a.png"]},
        {"image": "a.png"},
        {"audio": {"path": "a"}},
        {"context": "c"},
        {"input": "c"},
        {"history": [["c", "d"]]},
        {"reasoning_content": "so"},
        {"thinking": "so"},
        {"reasoning": "so"},
        {"label": False},
    ],
    ids=str,
)
def test_what_a_rows_texts_do_not_say_is_refused_unless_the_mapping_leaves_it_out(column: dict[str, Any]) -> None:
    (name,) = column
    row = {"prompt": "a", "completion": "b"}
    assert f"has `{name}" in refusal(row | column)
    report = check([(dumps(row | column) + "\n").encode()])
    assert report.shapes == [] and f"`{name}" in report.notes[0]
    assert row_of(row | column, {"prompt": "prompt", "completion": "completion"})["prompt"] == "a"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a? (A) yes  (B)\nno", "completion": "b", "choices": ["yes", "no"]},
        {"prompt": "c a", "completion": "b", "context": "c"},
        {"prompt": "a", "completion": "<think>so</think>b", "reasoning": "so"},
        {"prompt": "a", "completion": "b", "reasoning": True},
        {"prompt": "a", "completion": "b", "label": True, "images": [], "choices": None},
        {"messages": [ASKED, SAID | {"reasoning_content": "so"}], "thinking": "so"},
        {"text": "a", "label": 0, "context": "a"},
    ],
    ids=str,
)
def test_what_a_rows_texts_say_already_is_no_second_meaning(row: dict[str, Any]) -> None:
    assert {name: row_of(row)[name] for name in row} == row
