"""Texts that a tokenizer cannot write, or writes otherwise."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hone.errors import Invalid
from service.domain.datasets import FileData, LinearAlgebraData
from service.domain.health_notes import Note
from worker.training.data.encode import Encoder
from worker.training.data.fidelity import lost_characters
from worker.training.models import tiny
from worker.training.models.response_text import response_texts

CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
ASK, SAY = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
LETTERS = "abcdefghij 0123456789+=?:.\n"


def words(template: str | None = None) -> PreTrainedTokenizerFast:
    tokenizer = tiny.build_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def made(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")  # type: ignore[no-untyped-call]


def without_unknown(normalizer: Any = None) -> PreTrainedTokenizerFast:
    """A BPE of some letters: what it does not know vanishes."""
    letters = ["<pad>", "<eos>", *LETTERS]
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    core.decoder = decoders.Fuse()
    if normalizer is not None:
        core.normalizer = normalizer
    return made(core)


def with_dummy_prefix() -> PreTrainedTokenizerFast:
    """Like SentencePiece's: a blank is put before each text, and taken off when it is decoded."""
    letters = ["<pad>", "<eos>", "\u2581", *LETTERS.replace(" ", ""), *(f"\u2581{letter}" for letter in "ab12")]
    merges = [("\u2581", letter) for letter in "ab12"]
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, merges))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    return made(core)


def refused(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> str:
    rows = [{"prompt": "a", "completion": "b"}, row]
    with pytest.raises(Invalid) as refusal:
        Encoder(tokenizer, "auto", "dataset").encode(rows, 100, "all", "end")
    return refusal.value.message


def notes(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> list[str]:
    encoder = Encoder(tokenizer, "auto", "dataset")
    encoder.encode([row], 100, "all", "end")
    return [note.code for note in encoder.notes]


@pytest.mark.parametrize("template", [None, CHAT], ids=["text", "chat"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a\u00e9", "completion": "b"},
        {"prompt": "a", "completion": "b\u00e9"},
        {"prompt": "a", "completion": "\u00e9" * 5},
        {"messages": [{"role": "user", "content": "\u00e9"}, SAY]},
        {"messages": [{"role": "system", "content": "\u00e9"}, ASK, SAY]},
        {"messages": [ASK, {"role": "assistant", "content": "\u00e9"}]},
        {"prompt": [ASK], "completion": "\u00e9"},
        {"text": "a \u00e9"},
    ],
    ids=str,
)
def test_a_row_with_a_character_that_the_tokenizer_cannot_write_is_refused(
    template: str | None, row: dict[str, Any]
) -> None:
    if template is None and not isinstance(row.get("prompt", row.get("text")), str):
        return
    message = refused(words(template), row)
    assert message.startswith("dataset, row 2 has '\u00e9', which the model's tokenizer cannot write")


def test_what_vanishes_without_an_unknown_token_is_missed_too() -> None:
    message = refused(without_unknown(), {"prompt": "a", "completion": "1 \u20ac, 2 \xa3 or 3 \xa5"})
    assert "has '\u20ac', ',', '\xa3' and 3 more, which" in message


def test_a_turn_with_a_call_is_compared_too() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": "\u00e9"}}}
    turns = [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "1"}, SAY]
    assert "row 2 has '\u00e9'" in refused(words(), {"prompt": "a", "completion": turns})


def test_a_prompt_for_sampling_is_refused_and_an_answer_is_told_of() -> None:
    encoder = Encoder(words(), "auto", "dataset")
    with pytest.raises(Invalid, match="row 2 has '\u03c0', which"):
        encoder.prompts([{"prompt": "a", "answer": "1"}, {"prompt": "\u03c0", "answer": "1"}], 100)
    encoder.prompts([{"prompt": "a", "answer": "\u03c0"}, {"prompt": "a", "answer": 3}], 100)
    (note,) = encoder.notes
    assert note.code == "answer_unwritable" and "1 of 2 rows" in note.message


def test_what_the_tokenizer_knows_is_no_matter() -> None:
    for text in ("<eos>", "\ufffd", "a\n b", "<think>a</think>"):
        assert notes(words(), {"prompt": "a", "completion": text}) in ([], ["control_tokens"])


@pytest.mark.parametrize(
    ("normalizer", "text"),
    [
        (normalizers.Lowercase(), "ABC"),
        (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), "\u00e1b"),
        (normalizers.NFKC(), "a\u2460"),
        (normalizers.Replace("  ", " "), "a  b"),
    ],
    ids=["case", "accents", "width", "blanks"],
)
def test_a_text_that_is_written_in_another_form_is_told_of(normalizer: Any, text: str) -> None:
    assert notes(without_unknown(normalizer), {"prompt": "a", "completion": text}) == ["text_normalized"]
    assert notes(without_unknown(normalizer), {"prompt": "a", "completion": "ab"}) == []


@pytest.mark.parametrize(
    ("prompt", "completion"), [("1+1=", "2"), ("1+1=", " 2"), ("a?\n", "b"), ("a", "\n\nb"), ("a:", "  b")]
)
def test_a_completion_begins_without_a_blank_of_the_tokenizers(prompt: str, completion: str) -> None:
    tokenizer = with_dummy_prefix()
    (pair,) = (
        Encoder(tokenizer, "auto", "dataset")
        .encode_nonempty([{"prompt": prompt, "completion": completion}], 99)
        .sequences
    )
    assert tokenizer.decode([*pair.prompt, *pair.completion]) == f"{prompt}{completion}<eos>"
    assert tokenizer.decode(pair.prompt) == prompt


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.text(st.sampled_from("ab12 \n"), min_size=1, max_size=6))
def test_a_response_has_the_tokens_of_its_text(text: str) -> None:
    for tokenizer in (with_dummy_prefix(), words()):
        policy: Any = _Reader(tokenizer)
        ids = (
            Encoder(tokenizer, "auto", "dataset")
            .encode_nonempty([{"prompt": "a", "completion": text}], 99)
            .sequences[0]
            .completion
        )
        assert response_texts(policy, [ids]) == [text]


class _Reader:
    """What reading a response needs of a policy."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer, self.stops = tokenizer, [tokenizer.eos_token_id]


@pytest.mark.parametrize("source", [FileData(source="file-1"), LinearAlgebraData()], ids=["file", "made"])
def test_tools_of_a_row_that_plain_text_does_not_show_are_refused_or_told_of(source: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}
    rows: dict[str, dict[str, Any]] = {"pair": {"prompt": "a", "completion": "b"}, "text": {"text": "b"}}
    rows["turns"] = {"prompt": "a", "completion": [SAY, {"role": "tool", "content": "1"}, SAY]}
    found: list[Note] = []
    encoder = Encoder.of(_Reader(words()), source, "dataset", found)  # type: ignore[arg-type]
    for row in rows.values():
        row["tools"] = [tool]
        if isinstance(source, FileData):
            with pytest.raises(Invalid, match="row 1 has `tools`, for which plain text has no place"):
                encoder.encode([row], 99, "all", "end")
            with pytest.raises(Invalid, match="`tools`"):
                encoder.prompts([{"prompt": "a", "answer": "1", "tools": [tool]}], 99)
        else:
            encoder.encode([row], 99, "all", "end")
    assert {note.code for note in found} == (set() if isinstance(source, FileData) else {"tools_unseen"})


def test_an_empty_list_of_tools_is_none() -> None:
    assert notes(words(), {"prompt": "a", "completion": "b", "tools": []}) == []


@pytest.mark.parametrize(
    ("text", "written", "lost"),
    [
        ("ab", "ab", None),
        ("a b", "ab", None),
        ("\u00c9", "e", None),
        ("ab", "ba", "the order of its characters"),
        ("ab", "a", "'b'"),
        ("\u20ac", "\ufffd", "'\u20ac'"),
    ],
)
def test_lost_characters(text: str, written: str, lost: str | None) -> None:
    assert lost_characters(text, written) == lost
