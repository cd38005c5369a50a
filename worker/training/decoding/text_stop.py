"""Responses that end with a text: the host scans their new tokens for it.

Shapes: B active rows, C new tokens at most.
"""

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

NEVER = 2**31


class TextStop:
    """The first place of a text in each response."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str, rows: int) -> None:
        self._tokenizer, self._text = tokenizer, text
        self.end = [NEVER] * rows
        """The length of each response, up to the token that completes the text."""

    def scan(self, token_BC: Tensor, row_B: Tensor, length: int, window: int) -> Tensor:
        """Which of the given rows contain the text [B]. They have `length` tokens; the last `window` of them are new.

        Each character of the text takes at most one token, so of the old tokens as many as it has characters are
        enough; one more, because some tokenizers drop a blank in front of the first.
        """
        start = max(0, length - window - len(self._text) - 1)
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
