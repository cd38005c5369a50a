"""Preference pairs as token ids: two responses to one prompt, the better one first."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.errors import Invalid
from service.domain.supervised import RewardModelSpec
from worker.training.batching import Tokens
from worker.training.data import Row, answered, require
from worker.training.encode import Encoded, Encoder
from worker.training.models import Policy


class Pair(NamedTuple):
    """Both ends of a preference."""

    chosen: Tokens
    rejected: Tokens
    margin: float
    """How far apart their scores should be."""

    @property
    def longest(self) -> Tokens:
        """The one with more tokens."""
        return max(self.chosen, self.rejected, key=lambda sequence: sequence.total)


class Pairs(NamedTuple):
    """Rows as pairs, and what a person should know of those that were too long."""

    pairs: list[Pair]
    warnings: list[str]


def encode(rows: Sequence[Row], encoder: Encoder, policy: Policy, spec: RewardModelSpec, field: str) -> Pairs:
    """Prompts and responses as the policy would read and write them; Invalid if nothing is left of them."""
    require(rows, [("chosen", "rejected")], field, "reward_model")
    limit = min(spec.max_length, policy.context)
    chosen, rejected = (
        encoder.encode([answered(row, column) for row in rows], limit, "completion", spec.truncation)
        for column in ("chosen", "rejected")
    )
    better, worse = (dict(zip(side.rows, side.sequences, strict=True)) for side in (chosen, rejected))
    found = [
        Pair(ended(better[row], policy.stops), ended(worse[row], policy.stops), _margin(rows[row], spec))
        for row in chosen.rows
        if row in worse
    ]
    if not found:
        message = f"nothing of {field} fits into {limit:,} tokens; raise algorithm.max_length"
        raise Invalid(message, param="algorithm.max_length")
    return Pairs(found, _either(chosen, rejected).warnings)


def _either(one: Encoded, other: Encoded) -> Encoded:
    """What became of pairs: each is as too long as the longer of its two."""
    too_long, dropped = {*one.too_long, *other.too_long}, {*one.dropped, *other.dropped}
    return Encoded(one.limit, one.truncation, one.total, too_long=sorted(too_long), dropped=sorted(dropped))


def ended(sequence: Tokens, stops: Sequence[int]) -> Tokens:
    """Without what a chat template puts behind the end of the response: sampling stops there, and so must this."""
    prompt, completion = sequence.prompt, sequence.completion
    last = max((place for place, token in enumerate(completion) if token in stops), default=len(completion) - 1)
    return Tokens(prompt, completion[: last + 1])


def _margin(row: Row, spec: RewardModelSpec) -> float:
    return spec.margin if row.get("margin") is None else float(row["margin"])
