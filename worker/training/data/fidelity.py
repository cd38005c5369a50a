"""Whether token ids say what a text says: they are decoded and compared with it.

A tokenizer loses characters without a word: one that it does not know becomes its unknown token, or nothing at all.
Others write a text in another form: in lower case, without accents, with other blanks.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

SHOWN = 3
"""Characters that a message names."""


def lost_in_tokens(characters: str) -> str:
    """Why a row cannot be used; the message continues 'dataset, row 3 ...'."""
    return (
        f"has {characters}, which the model's tokenizer cannot write, so the model would read or learn something else; "
        "replace or remove what it cannot write, or use a model with another tokenizer"
    )


class Fidelity:
    """What a tokenizer makes of texts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._lost: dict[str, str] = {}
        self._changed: set[str] = set()

    def compare(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        """Remember which of some texts are not what their tokens say."""
        decoded: list[str] = self._tokenizer.batch_decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        for text, written in zip(texts, decoded, strict=True):
            if text == written:
                continue
            if characters := lost_characters(text, written):
                self._lost[text] = characters
            elif text.strip() != written.strip():
                self._changed.add(text)

    def lost(self, text: str) -> str | None:
        """The characters that a compared text has lost, for a message; None if it has lost none."""
        return self._lost.get(text)

    def changed(self, text: str) -> bool:
        """Whether a compared text is written in another form."""
        return text in self._changed


def lost_characters(text: str, written: str) -> str | None:
    """The first characters of a text that are not in what was written of it, whatever their case, accent and width."""
    plain, found = folded(text), folded(written)
    if plain == found:
        return None
    missing = Counter(plain) - Counter(found)
    names = [character for character in dict.fromkeys(text) if any(part in missing for part in folded(character))]
    names = [character for character in names if character not in written] or names
    if not names:
        return "the order of its characters" if len(plain) == len(found) else None
    shown = ", ".join(repr(character) for character in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else shown


def folded(text: str) -> str:
    """Without white space, case, accents and the width of characters."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not part.isspace() and not unicodedata.combining(part))
