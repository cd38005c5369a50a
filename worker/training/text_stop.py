"""Responses that end with a text: looked for on the host, each time some more tokens are there.

Shapes: B live rows, C new tokens at most.
"""

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

NEVER = 2**31


class TextStop:
    """Where responses contain a text for the first time."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str, rows: int) -> None:
        self._tokenizer, self._text = tokenizer, text
        self.end = [NEVER] * rows
        """The length of each response that ends with the first token by which the text is there."""

    def look(self, token_BC: Tensor, row_B: Tensor, length: int, every: int) -> Tensor:
        """Which of the given rows contain it by now [B]; `length` tokens are there, all but `every` seen before.

        Each of its characters takes at most one token, so of what was seen before the last few tokens are enough; one
        more, because some tokenizers drop a blank in front of the first.
        """
        start = max(0, length - every - len(self._text) - 1)
        rows: list[int] = row_B.tolist()
        unknown = [row for row in rows if self.end[row] == NEVER]
        windows: list[list[int]] = token_BC[unknown, start:length].tolist()
        for row, ids, text in zip(unknown, windows, self._decoded(windows), strict=True):
            if self._text in text:
                prefixes = self._decoded([ids[:count] for count in range(1, len(ids) + 1)])
                self.end[row] = start + 1 + next(i for i, prefix in enumerate(prefixes) if self._text in prefix)
        return torch.tensor([self.end[row] != NEVER for row in rows], device=row_B.device)

    def _decoded(self, windows: list[list[int]]) -> list[str]:
        return [str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)) for ids in windows]
