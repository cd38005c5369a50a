import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hone.errors import Invalid
from service.domain.datasets import AnyDataset
from worker.training.data.rows import (
    Row,
    batch_rows,
    conversation,
    load_rows,
    prompt_text,
    question,
    require_columns,
    sft_row,
    without_held_out,
)


def _load(path: Path, lines: list[str], **fields: Any) -> list[dict[str, Any]]:
    path.write_text("\n".join(lines))
    dataset: AnyDataset = TypeAdapter(AnyDataset).validate_python({"source": "file-1"} | fields)
    return load_rows(dataset, {"file-1": str(path)}, "dataset")  # type: ignore[arg-type]


def _refused(call: Any) -> str:
    with pytest.raises(Invalid) as refusal:
        call()
    assert refusal.value.param
    return refusal.value.message


def test_rows_of_a_file_are_read_up_to_the_limit(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": str(n)}) for n in range(5)]
    assert [row["prompt"] for row in _load(tmp_path / "rows", [*lines, ""], limit=3)] == ["0", "1", "2"]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    assert "line 2 is not JSON" in _refused(lambda: _load(tmp_path / "rows", ['{"a": 1}', "{"]))
    assert "line 1 is a list" in _refused(lambda: _load(tmp_path / "rows", ["[1]"]))
    assert "no rows" in _refused(lambda: _load(tmp_path / "rows", [""]))


def test_the_job_checks_messages_like_the_upload(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 3}]}
    message = _refused(lambda: _load(tmp_path / "rows", [json.dumps({"prompt": "a"}), json.dumps(row)]))
    assert message == "dataset, line 2: 'messages[1].weight' must be 1 (learned) or 0 (only read), but is the number 3"


def test_a_missing_column_names_row_purpose_and_remedy() -> None:
    rows = [{"prompt": "1", "answer": "2"}, {"prompt": "3", "text": "4"}]
    needs = [("messages",), ("prompt", "answer")]
    message = _refused(lambda: require_columns(rows, needs, "dataset", "grpo"))
    assert message == (
        "dataset, row 2 has `prompt`, `text`; grpo needs `messages` or `prompt` + `answer`; "
        "name them in dataset.columns"
    )


def test_each_epoch_shows_every_row_once_in_an_order_of_its_own() -> None:
    epochs = [batch_rows(10, 3, 2 * epoch, 5) + batch_rows(10, 3, 2 * epoch + 1, 5) for epoch in range(2)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    assert batch_rows(10, 3, 7, 4) == batch_rows(10, 3, 7, 4)
    assert batch_rows(10, 3, 7, 4) != batch_rows(10, 4, 7, 4)


def test_what_is_held_out_is_not_trained_on() -> None:
    rows = [{"prompt": text, "answer": "1"} for text in "abc"]
    assert without_held_out(rows, [{"prompt": "b", "answer": "1"}]) == [rows[0], rows[2]]


def test_a_conversation_is_held_out_by_what_comes_before_its_answer() -> None:
    asked = {"role": "user", "content": "1+1?"}
    asked_and_answered = [{"messages": [asked, {"role": "assistant", "content": content}]} for content in ("2", "two")]
    other = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
    assert without_held_out([asked_and_answered[0], other], [asked_and_answered[1]]) == [other]


def test_a_dataset_that_is_wholly_held_out_is_refused() -> None:
    rows = [{"prompt": "a", "answer": "1"}]
    with pytest.raises(Invalid, match="every row of dataset is in eval_dataset too"):
        without_held_out(rows, rows)


def test_a_prompt_is_the_same_question_as_its_message() -> None:
    asked = {"role": "user", "content": "1+1?", "name": None}
    rows: list[Row] = [
        {"prompt": "1+1?", "completion": "2"},
        {"prompt": [asked], "answer": "2"},
        {"messages": [asked, {"role": "assistant", "content": "2"}]},
        {"prompt": "2+2?", "answer": "4"},
    ]
    assert without_held_out(rows, [{"prompt": "1+1?", "answer": "2"}]) == rows[3:]


def test_preferences_and_texts_are_held_out_too() -> None:
    asked, good = {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}
    pair = {"chosen": [asked, good], "rejected": [asked, {"role": "assistant", "content": "3"}]}
    assert question(pair) == [asked]
    assert without_held_out([pair, {"text": "a"}, {"text": "b"}], [{"prompt": "1+1?"}, {"text": "a"}]) == [
        {"text": "b"}
    ]


def test_a_preference_has_two_answers() -> None:
    assert sft_row({"prompt": "1+1?", "chosen": "2", "rejected": "3"}, "rejected")["completion"] == "3"
    talk = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    assert conversation(sft_row({"chosen": talk, "rejected": talk[:1]}, "chosen")) == talk


def test_rewards_and_people_read_a_conversation_as_text() -> None:
    system, user = (
        {"role": "system", "content": "Add."},
        {"role": "user", "content": [{"type": "text", "text": "1+1?"}]},
    )
    assert prompt_text({"prompt": "1+1?"}) == prompt_text({"prompt": [user]}) == "1+1?"
    assert prompt_text({"prompt": [system, user]}) == "system: Add.\n\nuser: 1+1?"
