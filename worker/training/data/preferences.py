"""Preference pairs as token ids: two responses to one prompt, the better one first."""

from collections.abc import Sequence
from typing import NamedTuple

from hone.errors import Invalid
from service.domain.supervised import RewardModelSpec
from worker.training.data.encode import Encoder
from worker.training.data.encoded import EncodedRows
from worker.training.data.rows import Row, require_columns, sft_row
from worker.training.models.policy import Policy
from worker.training.sequences.batching import Tokens


class Pair(NamedTuple):
    """A preferred and a rejected response to one prompt."""

    chosen: Tokens
    rejected: Tokens
    margin: float
    """How far apart their scores should be."""

    @property
    def longest(self) -> Tokens:
        """The one with more tokens."""
        return max(self.chosen, self.rejected, key=lambda sequence: sequence.total)


class Pairs(NamedTuple):
    """Rows as pairs, and what happened to those that were too long."""

    pairs: list[Pair]
    encoded: EncodedRows
    """Without sequences."""


def encode(rows: Sequence[Row], encoder: Encoder, policy: Policy, spec: RewardModelSpec, field: str) -> Pairs:
    """Prompts and responses as the policy would read and write them; Invalid if nothing is left of them."""
    require_columns(rows, [("chosen", "rejected")], field, "reward_model")
    limit = min(spec.max_length, policy.context)
    chosen, rejected = (
        encoder.encode([sft_row(row, column) for row in rows], limit, "completion", spec.truncation)
        for column in ("chosen", "rejected")
    )
    better, worse = (dict(zip(side.rows, side.sequences, strict=True)) for side in (chosen, rejected))
    pairs = [Pair(better[row], worse[row], _margin(rows[row], spec)) for row in chosen.rows if row in worse]
    if not pairs:
        message = (
            f"nothing of {field} fits into {limit:,} tokens; raise algorithm.max_length as far as the model reads, or "
            "shorten the rows"
        )
        raise Invalid(message, param="algorithm.max_length")
    return Pairs(pairs, _combined(chosen, rejected))


def _combined(first: EncodedRows, second: EncodedRows) -> EncodedRows:
    """What happened to the pairs: a pair is too long, or dropped, if one of its two sequences is."""
    too_long, dropped = {*first.too_long, *second.too_long}, {*first.dropped, *second.dropped}
    return EncodedRows(first.limit, first.truncation, first.total, too_long=sorted(too_long), dropped=sorted(dropped))


def _margin(row: Row, spec: RewardModelSpec) -> float:
    return spec.margin if row.get("margin") is None else float(row["margin"])
