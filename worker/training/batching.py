"""Token sequences to tensors: micro-batches under a budget of tokens, in the layout that reads fewer of them.

Padded: one sequence a row, filled up on the right, so that a causal model needs no mask and positions count from 0.
Packed: one row without padding, in which a prompt stands once for all its completions; see `attention.py`.
Shapes: B sequences, T completion tokens, L input tokens of a row.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from worker.training.attention import Segment, layout

WORTH = 0.9
"""Sequences are packed where that leaves at most this share of the padded tokens."""


class Tokens(NamedTuple):
    """A prompt and its completion, as ids."""

    prompt: list[int]
    completion: list[int]
    learned: list[bool] | None = None
    """Which completion tokens count in losses, while all are read; None: all of them."""

    @property
    def total(self) -> int:
        """All tokens."""
        return len(self.prompt) + len(self.completion)


class Inputs(NamedTuple):
    """What a model is given, and where it says what comes next."""

    input_BL: Tensor
    position_BT: Tensor
    """Where in its row the hidden state stands that predicts completion token t: one before the token itself."""
    state: dict[str, Any]
    """Further arguments of the forward pass."""


class MicroBatch:
    """Some sequences as tensors [B, T], and as inputs in either layout."""

    def __init__(self, sequences: Sequence[Tokens], device: torch.device) -> None:
        self._sequences, self._device = sequences, device
        self.target_BT = _filled([row.completion for row in sequences]).to(device)
        self.mask_BT = learned(sequences, device)

    def inputs(self, packing: bool) -> Inputs:
        """The packed layout where it is allowed and worth it, else the padded one."""
        return self.packed if packing and self._size.worth_packing else self.padded

    @cached_property
    def _families(self) -> list[list[int]]:
        return _families(self._sequences, range(len(self._sequences)))

    @property
    def _size(self) -> "_Size":
        size = _Size()
        for family in self._families:
            size = _added(size, self._sequences, family)
        return size

    @cached_property
    def padded(self) -> Inputs:
        """One sequence a row. The last completion token is a target only, never an input."""
        input_BL = _filled([[*row.prompt, *row.completion[:-1]] for row in self._sequences])
        ends = [len(row.prompt) for row in self._sequences]
        return Inputs(input_BL.to(self._device), self._positions(ends, ends), {})

    @cached_property
    def packed(self) -> Inputs:
        """One row for all."""
        row = _Row()
        prompt_end, start = ([0] * len(self._sequences) for _ in range(2))
        for family in self._families:
            prompt = self._sequences[family[0]].prompt
            rest = [self._sequences[index].completion[:-1] for index in family]
            shared = row.append(prompt, 0) if len(family) > 1 else None
            for index, tokens in zip(family, rest, strict=True):
                if shared:
                    prompt_end[index] = shared.start + shared.length
                    start[index] = row.append(tokens, len(prompt), shared).start
                else:
                    prompt_end[index] = start[index] = row.append(prompt + tokens, 0).start + len(prompt)
        state = {
            "position_ids": torch.tensor([row.positions], device=self._device),
            "attention_mask": torch.zeros(
                1, 1, 1, 1, device=self._device
            ),  # four axes: passed on, and no other is made
            "layout": layout(row.segments, self._device),
        }
        input_1L = torch.tensor([row.tokens], device=self._device)
        return Inputs(input_1L, self._positions(prompt_end, start), state)

    def _positions(self, prompt_end: list[int], start: list[int]) -> Tensor:
        """`position_BT`, from where prompts end and completions start in their rows; 0 where there is no token."""
        columns = (prompt_end, start, [len(row.completion) for row in self._sequences])
        end_B1, start_B1, length_B1 = torch.tensor(columns)[:, :, None]
        time_T = torch.arange(self.target_BT.shape[1])
        position_BT = torch.where(time_T == 0, end_B1, start_B1 + time_T) - 1
        return torch.where(time_T < length_B1, position_BT, 0).to(self._device)


class _Row:
    """A packed row that grows."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.segments: list[Segment] = []

    def append(self, tokens: list[int], position: int, context: Segment | None = None) -> Segment:
        """Add a segment whose first token is the `position`-th of its sequence."""
        seen = (context.start, context.length) if context else (0, 0)
        segment = Segment(len(self.tokens), len(tokens), *seen)
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))
        self.segments.append(segment)
        return segment


def pad(sequences: Sequence[Tokens], device: torch.device) -> MicroBatch:
    """One micro-batch, its rows in the order of the sequences."""
    return MicroBatch(sequences, device)


class _Size(NamedTuple):
    """How much there is to read of some sequences."""

    rows: int = 0
    width: int = 0
    packed: int = 0

    def plus(self, row: Tokens, prompt: bool) -> "_Size":
        """With one more sequence, whose prompt counts unless it was there."""
        packed = len(row.completion) - 1 + (len(row.prompt) if prompt else 0)
        return _Size(self.rows + 1, max(self.width, row.total - 1), self.packed + packed)

    @property
    def worth_packing(self) -> bool:
        return self.packed <= WORTH * self.rows * self.width

    def tokens(self, packing: bool) -> int:
        """Of a forward pass, padding included."""
        return self.packed if packing and self.worth_packing else self.rows * self.width


def micro_batches(
    sequences: Sequence[Tokens], rows: Iterable[int], budget: int, packing: bool = False
) -> list[list[int]]:
    """The rows, longest first, in groups whose inputs fit the budget; a row beyond it goes alone.

    With packing, rows that share a prompt stay together where they fit.
    """
    longest_first = sorted(rows, key=lambda row: (-sequences[row].total, row))
    groups: list[list[int]] = []
    size = _Size()
    for family in _families(sequences, longest_first) if packing else [[row] for row in longest_first]:
        alone, together = (_added(before, sequences, family).tokens(packing) for before in (_Size(), size))
        if groups and alone <= budget < together:
            groups.append([])
            size = _Size()
        first = True
        for row in family:
            bigger = size.plus(sequences[row], first)
            if not groups or (groups[-1] and bigger.tokens(packing) > budget):
                groups.append([])
                bigger = _Size().plus(sequences[row], True)
            groups[-1].append(row)
            size, first = bigger, False
    return groups


def _families(sequences: Sequence[Tokens], rows: Iterable[int]) -> list[list[int]]:
    """The rows by their prompts."""
    families: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        families.setdefault(tuple(sequences[row].prompt), []).append(row)
    return list(families.values())


def _added(size: _Size, sequences: Sequence[Tokens], family: list[int]) -> _Size:
    for row in family:
        size = size.plus(sequences[row], prompt=row == family[0])
    return size


def lengths(sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """How many completion tokens count [B]."""
    counts = [len(row.completion) if row.learned is None else sum(row.learned) for row in sequences]
    return torch.tensor(counts, device=device)


def learned(sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """1 where a completion token counts: neither padding nor a hole [B, T]."""
    return _filled([row.learned or [1] * len(row.completion) for row in sequences]).to(device).float()


def _filled(rows: Sequence[Sequence[int]]) -> Tensor:
    """Right-padded with 0: as an id any would do, for nothing that counts looks at it."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
