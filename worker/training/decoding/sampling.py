"""Random choices without a random state: each is a pure function of (seed, step, row, position).

So a response does not depend on what else is in its batch, and a checkpoint needs no generator.
Shapes: B rows, C positions, V tokens in the vocabulary, K blocks of W tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_MIX_1, _MIX_2, _GOLDEN = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64, 0x9E3779B97F4A7C15 - 2**64
_BLOCK = 512


class Drawn(NamedTuple):
    """One token for each row [B]."""

    token_B: Tensor
    logp_B: Tensor
    """Its log-probability under the distribution that it was drawn from; 0 where the likeliest token was taken."""
    entropy_B: Tensor
    """The entropy of that distribution."""


def choose(logits_BV: Tensor, uniform_B: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Drawn:
    """The next tokens. Temperature comes first, then top-k, then top-p among the remaining tokens, as in transformers.

    log p_v = z_v - m - log S,     H = log S - sum_v e_v (z_v - m) / S,     e_v = exp(z_v - m),  S = sum_v e_v
    """
    if temperature == 0:
        nothing_B = torch.zeros_like(uniform_B)
        return Drawn(logits_BV.argmax(-1), nothing_B, nothing_B)
    if temperature != 1:
        logits_BV = logits_BV / temperature
    logits_BV = _nucleus(_likeliest(logits_BV, top_k), top_p)
    centred_BV = logits_BV - logits_BV.amax(-1, keepdim=True)
    mass_BV = centred_BV.exp()
    token_B, sum_B = draw(mass_BV, uniform_B)
    mean_B = torch.linalg.vecdot(mass_BV, centred_BV) / sum_B
    logp_B = centred_BV.gather(1, token_B[:, None])[:, 0] - sum_B.log()
    return Drawn(token_B, logp_B, sum_B.log() - mean_B)


def _likeliest(logits_BV: Tensor, top_k: int) -> Tensor:
    """Only the `top_k` likeliest tokens, and those that are exactly as likely as the last of them."""
    if not 0 < top_k < logits_BV.shape[1]:
        return logits_BV
    least_B1 = logits_BV.topk(top_k, dim=-1).values[:, -1:]
    return _without(logits_BV, logits_BV < least_B1)


def _nucleus(logits_BV: Tensor, top_p: float) -> Tensor:
    """The likeliest tokens, up to the one with which they have a probability of `top_p` (arXiv:1904.09751)."""
    if top_p == 1:
        return logits_BV
    sorted_BV, order_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    probability_BV = sorted_BV.softmax(-1)
    before_BV = probability_BV.cumsum(-1) - probability_BV
    outside_BV = (before_BV >= top_p).scatter_(1, torch.zeros_like(order_BV[:, :1]), False)
    return _without(logits_BV, torch.empty_like(outside_BV).scatter_(1, order_BV, outside_BV))


def _without(logits_BV: Tensor, outside_BV: Tensor) -> Tensor:
    """Finite, since 0 times infinity would make the entropy NaN; the exponential is 0 all the same."""
    return logits_BV.masked_fill(outside_BV, torch.finfo(logits_BV.dtype).min / 2)


def row_keys(seed: int, step: int, first_row: int, rows: int, device: torch.device) -> Tensor:
    """A key for the random numbers of each row [B]."""
    return keys(seed, step, torch.arange(first_row, first_row + rows, device=device))


def keys(seed: int, step: int, number_B: Tensor) -> Tensor:
    """The same for rows with any numbers."""
    key = _mixed(_mixed(torch.tensor(seed, device=number_B.device)) + step)
    return _mixed(key + number_B)


def uniforms(key_B: Tensor, positions: range) -> Tensor:
    """Numbers in [0, 1), 24 bits each, one for each row and position [B, C]."""
    hash_BC = _mixed(key_B[:, None] + torch.arange(positions.start, positions.stop, device=key_B.device))
    return _shifted(hash_BC, 40).float() / 2**24


def draw(mass_BV: Tensor, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of the cumulative distribution: the token in whose share of the mass the number falls; and the mass [B].

    Two levels, blocks then tokens: a running sum over a whole vocabulary in fp32 is slow and loses digits.
    """
    rows, vocabulary = mass_BV.shape
    size = min(vocabulary, _BLOCK)
    whole = vocabulary - vocabulary % size
    blocks_BKW = mass_BV[:, :whole].view(rows, whole // size, size)
    mass_BK = torch.cat([blocks_BKW.sum(-1), mass_BV[:, whole:].sum(-1, keepdim=True)], dim=1)
    sum_B = mass_BK.sum(-1)
    block_B, rest_B = _first_above(mass_BK, uniform_B * sum_B)
    place_BW = block_B[:, None] * size + torch.arange(size, device=mass_BV.device)
    within_BW = mass_BV.gather(1, place_BW.clamp(max=vocabulary - 1)).masked_fill(place_BW >= vocabulary, 0.0)
    index_B, _ = _first_above(within_BW, rest_B)
    return block_B * size + index_B, sum_B


def _first_above(mass_BK: Tensor, goal_B: Tensor) -> tuple[Tensor, Tensor]:
    """Where the running sum first exceeds the goal, and the rest of the goal at that place.

    Rounding can leave a goal that no sum exceeds; the heaviest entry then stands in, never one of no mass.
    """
    running_BK = mass_BK.cumsum(-1)
    index_B = torch.searchsorted(running_BK, goal_B[:, None], right=True)[:, 0]
    index_B = torch.where(index_B < mass_BK.shape[1], index_B, mass_BK.argmax(-1))
    before_B = (running_BK - mass_BK).gather(1, index_B[:, None])[:, 0]
    return index_B, goal_B - before_B


def _mixed(x: Tensor) -> Tensor:
    """splitmix64's output function (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output."""
    x = x + _GOLDEN
    x = (x ^ _shifted(x, 30)) * _MIX_1
    x = (x ^ _shifted(x, 27)) * _MIX_2
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch's `>>` on int64 fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
