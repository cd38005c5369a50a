"""Random choices without a random state: each is a pure function of (seed, step, row, position).

So a response does not depend on what else is in its batch, and a checkpoint needs no generator.
Shapes: B rows, C positions, V words.
"""

import torch
from torch import Tensor

_MIX_1, _MIX_2, _GOLDEN = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64, 0x9E3779B97F4A7C15 - 2**64
_BLOCK = 512


def uniforms(seed: int, step: int, rows: int, positions: int, device: torch.device) -> Tensor:
    """Numbers in [0, 1), 24 bits each, one for each row and position [B, C]."""
    key = _mixed(_mixed(torch.tensor(seed, device=device)) + step)
    row_B1 = _mixed(key + torch.arange(rows, device=device))[:, None]
    hash_BC = _mixed(row_B1 + torch.arange(positions, device=device))
    return _shifted(hash_BC, 40).float() / 2**24


def draw(probability_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """Inverse of the cumulative distribution: the word in whose share of [0, 1) the number falls [B].

    Two levels, blocks then words: a running sum over a whole vocabulary in fp32 is slow and loses digits.
    """
    rows, words = probability_BV.shape
    padded = torch.nn.functional.pad(probability_BV, (0, -words % _BLOCK))
    block_BKW = padded.view(rows, -1, _BLOCK)
    mass_BK = block_BKW.sum(-1)
    block_B, rest_B = _first_above(mass_BK, uniform_B * mass_BK.sum(-1))
    within_BW = block_BKW[torch.arange(rows, device=block_B.device), block_B]
    word_B, _ = _first_above(within_BW, rest_B)
    return block_B * _BLOCK + word_B


def _first_above(mass_BK: Tensor, goal_B: Tensor) -> tuple[Tensor, Tensor]:
    """Where the running sum first exceeds the goal, and what of the goal is left when it gets there.

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
