"""Control tokens: those that frame a conversation or end it, when they stand in the texts of a row.

A text like `What does <|im_end|> mean?` has the end of a turn in it, and the model reads it as one. Tokens that carry
meaning within a turn (`<think>`, `<answer>`, `<tool_call>`) are none.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from worker.training.models.end_of_turn import end_of_turn

MEANINGFUL = re.compile(r"</?(think|thinking|answer|tool_call|tool_response|tools)>|\[/?THINK\]")
"""What texts are asked to contain, also where a tokenizer has it as a special token."""


class ControlTokens:
    """The control tokens of a tokenizer and its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[int] = (), *, as_text: bool = False) -> None:
        """Sampling stops at `stops`, at eos, and at the end of a turn in the chat template.

        `as_text`: in the texts of rows they are ordinary text.
        """
        own = [tokenizer.eos_token_id, *stops, end_of_turn(tokenizer, stops)]
        self.stops = list(dict.fromkeys(int(stop) for stop in own if stop is not None))
        """The tokens at which sampling stops; the first is written where a text is to end."""
        self._tokenizer: Any = tokenizer
        self._as_text = as_text

    def breaks(self, text: str, spans: Iterable[tuple[int, int]]) -> list[int]:
        """Where to divide a text before it becomes tokens, so that those within spans are ordinary text."""
        if not self._as_text or not self._pattern.search(text):
            return []
        found = [match.start() + 1 for start, end in spans for match in self._pattern.finditer(text, start, end)]
        return sorted(set(found))

    def misread_in(self, text: str) -> bool:
        """Whether a text has some that the model reads as such, beside a beginning and an end of its own."""
        if self._as_text:
            return False
        begun = text.removeprefix(self._tokenizer.bos_token or "")
        return self._pattern.search(begun.removesuffix(self._tokenizer.eos_token or "")) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        tokenizer = self._tokenizer
        ids = {*self.stops, tokenizer.bos_token_id, tokenizer.pad_token_id} - {None}
        template = str(getattr(tokenizer, "chat_template", None) or "")
        framing = {
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.special and token.content in template
        }
        texts = {*framing, *(str(text) for text in tokenizer.convert_ids_to_tokens(sorted(ids)))}
        longest_first = sorted((text for text in texts if not MEANINGFUL.fullmatch(text)), key=len, reverse=True)
        return re.compile("|".join(re.escape(text) for text in longest_first if len(text) > 1) or "(?!)")
