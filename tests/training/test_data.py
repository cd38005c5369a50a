import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.domain.datasets import AnyDataset
from service.domain.errors import Invalid
from worker.training import data, tiny
from worker.training.data import Encoder

CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def _load(path: Path, lines: list[str], **fields: Any) -> list[dict[str, Any]]:
    path.write_text("\n".join(lines))
    dataset: AnyDataset = TypeAdapter(AnyDataset).validate_python({"source": "file-1"} | fields)
    return data.load(dataset, {"file-1": str(path)}, "dataset")


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
    assert "line 1 is '[1]'" in _refused(lambda: _load(tmp_path / "rows", ["[1]"]))
    assert "no rows" in _refused(lambda: _load(tmp_path / "rows", [""]))


def test_a_missing_column_names_row_purpose_and_remedy() -> None:
    rows = [{"prompt": "1", "answer": "2"}, {"prompt": "3", "text": "4"}]
    needs = [("messages",), ("prompt", "answer")]
    message = _refused(lambda: data.require(rows, needs, "dataset", "grpo"))
    assert message == "dataset, row 2 has `prompt`, `text`; grpo needs `messages` or `prompt` + `answer`"


def test_completions_end_with_eos_and_lose_their_end_when_too_long() -> None:
    words = tiny.tokenizer()
    encoder = Encoder(words, "auto", "dataset")
    row = {"prompt": "ab", "completion": "<think>c</think>"}
    (whole,) = encoder.pairs([row], 100)
    assert whole.prompt == words("ab")["input_ids"]
    assert whole.completion == [*words("<think>c</think>")["input_ids"], words.eos_token_id]
    assert encoder.pairs([row], 4)[0].completion == whole.completion[:2]


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    encoder = Encoder(tiny.tokenizer(), "auto", "dataset")
    assert "row 1 has a prompt of 5 tokens" in _refused(lambda: encoder.prompts([{"prompt": "abcde"}], 5))
    assert "empty prompt" in _refused(lambda: encoder.prompts([{"prompt": ""}], 5))


def test_messages_are_written_with_the_models_template_and_the_last_turn_is_learned() -> None:
    words = tiny.tokenizer()
    words.chat_template = CHAT
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (pair,) = Encoder(words, "auto", "dataset").pairs([row], 1000)
    assert words.decode(pair.prompt) == "[user]a<eos>[assistant]b<eos>[user]c<eos>[assistant]"
    assert words.decode(pair.completion) == "d<eos>"


def test_plain_prompts_become_messages_unless_the_template_is_text() -> None:
    words = tiny.tokenizer()
    words.chat_template = CHAT
    row = {"prompt": "a", "completion": "b"}
    shown = {
        template: words.decode(Encoder(words, template, "dataset").prompts([row], 100)[0])
        for template in ("auto", "text")
    }
    assert shown == {"auto": "[user]a<eos>[assistant]", "text": "a"}
    (pair,) = Encoder(words, "auto", "dataset").pairs([row], 100)
    assert words.decode(pair.completion) == "b<eos>"


def test_a_chat_needs_a_template_and_an_assistant() -> None:
    message = _refused(lambda: Encoder(tiny.tokenizer(), "chat", "dataset"))
    assert message.startswith("dataset.template is chat")
    row = {"messages": [{"role": "user", "content": "a"}]}
    assert "no chat template" in _refused(lambda: Encoder(tiny.tokenizer(), "auto", "dataset").pairs([row], 9))
    words = tiny.tokenizer()
    words.chat_template = CHAT
    assert "role 'assistant'" in _refused(lambda: Encoder(words, "auto", "dataset").pairs([row], 9))


def test_each_epoch_shows_every_row_once_in_an_order_of_its_own() -> None:
    epochs = [data.batch(10, 3, 2 * epoch, 5) + data.batch(10, 3, 2 * epoch + 1, 5) for epoch in range(2)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    assert data.batch(10, 3, 7, 4) == data.batch(10, 3, 7, 4)
    assert data.batch(10, 3, 7, 4) != data.batch(10, 4, 7, 4)


def test_what_is_held_out_is_not_trained_on() -> None:
    rows = [{"prompt": text, "answer": "1"} for text in "abc"]
    assert data.without(rows, [{"prompt": "b", "answer": "1"}]) == [rows[0], rows[2]]


def test_a_conversation_is_held_out_by_what_comes_before_its_answer() -> None:
    asked = {"role": "user", "content": "1+1?"}
    said = [{"messages": [asked, {"role": "assistant", "content": content}]} for content in ("2", "two")]
    other = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
    assert data.without([said[0], other], [said[1]]) == [other]


def test_a_dataset_that_is_wholly_held_out_is_refused() -> None:
    rows = [{"prompt": "a", "answer": "1"}]
    with pytest.raises(Invalid, match="every row of dataset is in eval_dataset too"):
        data.without(rows, rows)
