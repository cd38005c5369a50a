"""Where responses end: at a stop token, with a text, or at their limit.

Shapes: B active rows, R all rows, C new tokens at most.
"""

import torch
from torch import Tensor

from worker.training.decoding.text_stop import NEVER, TextStop
from worker.training.models.policy import Policy


class StopDetector:
    """Checks the tokens of all rows, a window of new ones at a time."""

    def __init__(self, policy: Policy, text: str | None, limit_R: Tensor) -> None:
        self._stops = torch.tensor(policy.stops, device=policy.device)
        self._text_stop = TextStop(policy.tokenizer, text, len(limit_R)) if text else None
        self._limit_R = limit_R

    def ended(self, token_RC: Tensor, row_B: Tensor, length: int, window: int) -> Tensor:
        """Which of the given rows have ended [B]. They have `length` tokens; the last `window` of them are new."""
        new_BC = token_RC[row_B, max(0, length - window) : length]
        ended_B = torch.isin(new_BC, self._stops).any(1) | (self._limit_R[row_B] <= length)
        return ended_B | self._text_stop.scan(token_RC, row_B, length, window) if self._text_stop else ended_B

    def lengths(self, token_RC: Tensor, row_B: Tensor, window: int) -> Tensor:
        """The length of each row up to its first stop; NEVER without one [R]. The given rows were still active."""
        stop_RC = torch.isin(token_RC, self._stops)
        end_R = torch.where(stop_RC.any(1), stop_RC.int().argmax(1) + 1, NEVER)
        if self._text_stop is None:
            return end_R
        self._text_stop.scan(token_RC, row_B, token_RC.shape[1], window)  # the last window has not been scanned
        return torch.minimum(end_R, torch.tensor(self._text_stop.end, device=end_R.device))
