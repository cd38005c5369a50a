"""Texts as tokens and back where they stand behind another text.

Some tokenizers (SentencePiece's with a dummy prefix, `add_prefix_space`) put a blank before the first word of every
text, and take it off when they decode. Behind another text that blank would be one that nobody wrote, or is lost.
"""

from typing import Any

ANCHORS = ("\n", ".", "x")
"""What a text is put behind; the first one with which its first characters do not merge counts."""


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text, without those for a beginning or an end."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def continuation(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that goes on behind another."""
    for anchor in ANCHORS:
        before, both = token_ids(tokenizer, anchor), token_ids(tokenizer, f"{anchor}{text}")
        if both[: len(before)] == before:
            return both[len(before) :]
    return token_ids(tokenizer, text)


def continued_text(tokenizer: Any, ids: list[int]) -> str:
    """The text of tokens that stand behind others: `continuation` makes the same tokens of it."""
    before = token_ids(tokenizer, ANCHORS[0])
    anchor = _decoded(tokenizer, before)
    text = _decoded(tokenizer, [*before, *ids])
    return text.removeprefix(anchor) if text.startswith(anchor) else _decoded(tokenizer, ids)


def strips_blanks(tokenizer: Any) -> bool:
    """Whether decoding takes off the blank with which a text begins."""
    word = token_ids(tokenizer, "a")
    return continued_text(tokenizer, word) != _decoded(tokenizer, word)


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
