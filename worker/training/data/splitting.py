"""Texts as token ids, with token boundaries where sampling has them, and one beginning of the sequence."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from transformers import PreTrainedTokenizerBase

from worker.training.data.control import ControlTokens
from worker.training.data.fidelity import Fidelity
from worker.training.models.tokens import continuation, token_ids


def pieces(
    tokenizer: PreTrainedTokenizerBase, text: str, cuts: Sequence[int], breaks: Sequence[int] = ()
) -> list[list[int]]:
    """The token ids of a text before the first cut, between it and the next one, and so on.

    Cuts are characters at which sampling began, in order: what stands before the last one has the tokens that it has
    alone, as a prompt. Usually those are the tokens of the whole text; where a token would stand across a cut, or the
    tokenizer does not say where its tokens stand, the parts are tokenised one by one. `breaks` are further places over
    which no token goes.
    """
    if not cuts and not breaks:
        return [token_ids(tokenizer, text)]
    if not breaks:
        whole = _whole(tokenizer, text, cuts)
        before = token_ids(tokenizer, text[: cuts[-1]])
        if whole is not None and [token for part in whole[:-1] for token in part] == before:
            return whole
    parts: list[list[int]] = [[]]
    for start, end in pairwise(sorted({0, *cuts, *breaks, len(text)})):
        if start in cuts:
            parts.append([])
        parts[-1] += continuation(tokenizer, text[start:end]) if start else token_ids(tokenizer, text[:end])
    return parts


def _whole(tokenizer: Any, text: str, cuts: Sequence[int]) -> list[list[int]] | None:
    """The tokens of the whole text, divided; None if they cannot be."""
    if not tokenizer.is_fast:
        return None
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    places = [bisect_left(offsets, (cut, cut)) for cut in cuts]
    if any(place > 0 and offsets[place - 1][1] > cut for place, cut in zip(places, cuts, strict=True)):
        return None
    return [ids[start:end] for start, end in pairwise([0, *places, len(ids)])]


class PlainText:
    """Texts without a chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens) -> None:
        self._tokenizer: Any = tokenizer
        self._control = control
        self.fidelity = Fidelity(tokenizer)
        """What became of the texts."""

    def beginnings(self, texts: list[str]) -> list[list[int]]:
        """Texts with which a sequence begins: with the token for that, once, and without one for an end."""
        start = self._start
        return [ids if ids[: len(start)] == start else [*start, *ids] for ids in self._read(texts)]

    def continuations(self, texts: list[str]) -> list[list[int]]:
        """Texts that stand behind another: without the blank that some tokenizers put before a first word."""
        if not texts or not self._adds_blanks:
            return self._read(texts)
        return [
            continuation(self._tokenizer, text) if not self._breaks(text) else ids
            for text, ids in zip(texts, self._read(texts), strict=True)
        ]

    def compare(self, texts: list[str]) -> None:
        """Find out what becomes of texts that are not read, such as answers that the model should write."""
        self._read(texts)

    def _read(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        for number, text in enumerate(texts):
            if breaks := self._breaks(text):
                (ids[number],) = pieces(self._tokenizer, text, [], breaks)
        self.fidelity.compare(texts, ids)
        return ids

    def _breaks(self, text: str) -> list[int]:
        return self._control.breaks(text, [(0, len(text))])

    @cached_property
    def _adds_blanks(self) -> bool:
        return continuation(self._tokenizer, "a") != token_ids(self._tokenizer, "a")

    @cached_property
    def _start(self) -> list[int]:
        """What the tokenizer puts before a text."""
        bare: list[int] = token_ids(self._tokenizer, "a")
        full: list[int] = self._tokenizer("a")["input_ids"]
        for place in range(len(full) - len(bare) + 1):
            if full[place : place + len(bare)] == bare:
                return full[:place]
        return []
