"""Rows as token ids, and what happened to those that were too long."""

from dataclasses import dataclass, field
from typing import NamedTuple

from service.domain.supervised import Truncation
from worker.training.sequences.batching import Tokens


class EncodedRow(NamedTuple):
    """A row as token ids, and which of them count in the loss."""

    ids: list[int]
    loss_mask: list[bool]

    def tokens(self) -> Tokens | None:
        """Prompt and completion: the completion goes from the first token of the loss to the last one.

        None if no token is in the loss. Token 0 never is, since nothing predicts it.
        """
        places = [place for place, in_loss in enumerate(self.loss_mask) if in_loss and place > 0]
        if not places:
            return None
        first, end = places[0], places[-1] + 1
        has_holes = len(places) < end - first
        return Tokens(self.ids[:first], self.ids[first:end], self.loss_mask[first:end] if has_holes else None)


@dataclass(frozen=True)
class EncodedRows:
    """Rows as sequences, and what happened to those that were too long."""

    limit: int
    """The most tokens that a row may have."""
    truncation: Truncation
    total: int = 0
    """Number of rows, dropped ones included."""
    sequences: list[Tokens] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """The row of each sequence."""
    too_long: list[int] = field(default_factory=list)
    """Rows beyond the limit."""
    dropped: list[int] = field(default_factory=list)
    """Rows of which no token of the loss is left."""
