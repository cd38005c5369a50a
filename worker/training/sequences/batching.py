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

from worker.training.sequences.attention import PackedSegment, layout

PACKING_THRESHOLD = 0.9
"""Sequences are packed where that leaves at most this share of the padded tokens.

Not wherever it saves one: packed attention gathers queries and keys first, and takes several calls a layer.
"""


class Tokens(NamedTuple):
    """A prompt and its completion, as ids.

    Example: "1+1=" answered by "2" and the end of the sequence, and a response whose middle token is a tool's output

        Tokens(prompt=[52, 14, 52, 32], completion=[53, 1])
        Tokens(prompt=[9], completion=[20, 31, 1], loss_mask=[True, False, True])
    """

    prompt: list[int]
    completion: list[int]
    loss_mask: list[bool] | None = None
    """Which completion tokens count in the loss, while all are read; None: all of them."""

    @property
    def total(self) -> int:
        """All tokens."""
        return len(self.prompt) + len(self.completion)


class Inputs(NamedTuple):
    """The inputs of a forward pass, and the positions whose hidden states predict the targets."""

    input_BL: Tensor
    position_BT: Tensor
    """The position in its row of the hidden state that predicts completion token t: one before the token itself."""
    state: dict[str, Any]
    """Further arguments of the forward pass."""


class MicroBatch:
    """Some sequences as tensors [B, T], and as inputs in either layout.

    Example: a prompt [1, 2] with the completions [3, 4, 5], [9] and [3, 8], and a prompt [6] with [7, 8] in between

        sequences            Tokens([1, 2], [3, 4, 5]), Tokens([6], [7, 8]), Tokens([1, 2], [9]), Tokens([1, 2], [3, 8])
        target_BT            [[3, 4, 5], [7, 8, 0], [9, 0, 0], [3, 8, 0]]
        mask_BT              [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]]
        padded.input_BL      [[1, 2, 3, 4], [6, 7, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0]]
        padded.position_BT   [[1, 2, 3], [0, 1, 0], [1, 0, 0], [1, 2, 0]]
        packed.input_BL      [[1, 2, 3, 4, 3, 6, 7]]
        packed.position_BT   [[1, 2, 3], [5, 6, 0], [1, 0, 0], [1, 4, 0]]

    Of [9] nothing is read: it is predicted at the end of its prompt. `attention.py` draws the packed row.
    """

    def __init__(self, sequences: Sequence[Tokens], device: torch.device) -> None:
        self._sequences, self._device = sequences, device
        self.target_BT = _right_padded([row.completion for row in sequences]).to(device)
        self.mask_BT = loss_mask(sequences, device)

    def inputs(self, *, packing: bool) -> Inputs:
        """The packed layout where it is allowed and worth it, else the padded one."""
        return self.packed if packing and self._size.worth_packing else self.padded

    @cached_property
    def _prompt_groups(self) -> list[list[int]]:
        return _rows_by_prompt(self._sequences, range(len(self._sequences)))

    @property
    def _size(self) -> "_InputSize":
        size = _InputSize()
        for group in self._prompt_groups:
            size = _plus_group(size, self._sequences, group)
        return size

    @cached_property
    def padded(self) -> Inputs:
        """One sequence a row. The last completion token is a target only, never an input."""
        input_BL = _right_padded([[*row.prompt, *row.completion[:-1]] for row in self._sequences])
        ends = [len(row.prompt) for row in self._sequences]
        return Inputs(input_BL.to(self._device), self._positions(ends, ends), {})

    @cached_property
    def packed(self) -> Inputs:
        """One row for all: each prompt once, then its completions one after the other."""
        row = _PackedRow()
        prompt_end = [0] * len(self._sequences)
        start = [0] * len(self._sequences)
        for group in self._prompt_groups:
            prompt = self._sequences[group[0]].prompt
            if len(group) == 1:  # one segment, not two: attention without a context needs no mask
                whole = row.append(prompt + self._sequences[group[0]].completion[:-1], 0)
                prompt_end[group[0]] = start[group[0]] = whole.start + len(prompt)
                continue
            shared = row.append(prompt, 0)
            for index in group:
                own = row.append(self._sequences[index].completion[:-1], len(prompt), shared)
                prompt_end[index], start[index] = shared.start + shared.length, own.start
        state = {
            "position_ids": torch.tensor([row.positions], device=self._device),
            # transformers passes a mask of four axes on as it is, and makes none of its own; `attend` does not read it.
            "attention_mask": torch.zeros(1, 1, 1, 1, device=self._device),
            "layout": layout(row.segments, self._device),
        }
        input_1L = torch.tensor([row.tokens], device=self._device)
        return Inputs(input_1L, self._positions(prompt_end, start), state)

    def _positions(self, prompt_end: list[int], start: list[int]) -> Tensor:
        """`position_BT`, from where prompts end and completions start in their rows; 0 where there is no token.

        Token 0 is predicted at the end of its prompt, token t at token t - 1: in a packed row that may be far away.
        """
        lengths = [len(row.completion) for row in self._sequences]
        end_B1, start_B1, length_B1 = (torch.tensor(column)[:, None] for column in (prompt_end, start, lengths))
        time_T = torch.arange(self.target_BT.shape[1])
        position_BT = torch.where(time_T == 0, end_B1, start_B1 + time_T) - 1
        # Beyond the end any position would do, for nothing reads it; 0 exists in every row.
        return torch.where(time_T < length_B1, position_BT, 0).to(self._device)


class _PackedRow:
    """A packed row, to which segments are appended."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.segments: list[PackedSegment] = []

    def append(self, tokens: list[int], position: int, context: PackedSegment | None = None) -> PackedSegment:
        """Add a segment whose first token is the `position`-th of its sequence."""
        context_start, context_length = (context.start, context.length) if context else (0, 0)
        segment = PackedSegment(len(self.tokens), len(tokens), context_start, context_length)
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))
        self.segments.append(segment)
        return segment


class _InputSize(NamedTuple):
    """The number of input tokens of some sequences, in either layout."""

    rows: int = 0
    width: int = 0
    packed: int = 0

    def plus(self, row: Tokens, *, with_prompt: bool) -> "_InputSize":
        """With one more sequence. In the packed layout its prompt counts only the first time."""
        packed = len(row.completion) - 1 + (len(row.prompt) if with_prompt else 0)  # the last token is never read
        return _InputSize(self.rows + 1, max(self.width, row.total - 1), self.packed + packed)

    @property
    def worth_packing(self) -> bool:
        return self.packed <= PACKING_THRESHOLD * self.rows * self.width

    def tokens(self, *, packing: bool) -> int:
        """Of a forward pass, padding included."""
        return self.packed if packing and self.worth_packing else self.rows * self.width


def micro_batches(
    sequences: Sequence[Tokens], rows: Iterable[int], budget: int, *, packing: bool = False
) -> list[list[int]]:
    """The rows, longest first, in batches whose inputs fit the budget; a row beyond it is a batch of its own.

    With packing, rows that share a prompt stay together where they fit.
    """
    # Longest first, so that rows of similar length are neighbours and little is padded; then by number, so that the
    # batches are a function of the rows and not of the order in which they are given.
    longest_first = sorted(rows, key=lambda row: (-sequences[row].total, row))
    prompt_groups = _rows_by_prompt(sequences, longest_first) if packing else [[row] for row in longest_first]
    batches: list[list[int]] = []
    size = _InputSize()
    """Of the last batch."""
    for group in prompt_groups:
        fits_alone = _plus_group(_InputSize(), sequences, group).tokens(packing=packing) <= budget
        fits_in_last_batch = _plus_group(size, sequences, group).tokens(packing=packing) <= budget
        if batches and fits_alone and not fits_in_last_batch:  # else the group would be cut, and its prompt read twice
            batches.append([])
            size = _InputSize()
        prompt_is_new = True
        for row in group:
            size_with_row = size.plus(sequences[row], with_prompt=prompt_is_new)
            if not batches or (batches[-1] and size_with_row.tokens(packing=packing) > budget):
                batches.append([])
                size_with_row = _InputSize().plus(sequences[row], with_prompt=True)  # each batch reads the prompt once
            batches[-1].append(row)
            size, prompt_is_new = size_with_row, False
    return batches


def _rows_by_prompt(sequences: Sequence[Tokens], rows: Iterable[int]) -> list[list[int]]:
    """Groups of rows that have the same prompt."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        groups.setdefault(tuple(sequences[row].prompt), []).append(row)
    return list(groups.values())


def _plus_group(size: _InputSize, sequences: Sequence[Tokens], group: list[int]) -> _InputSize:
    for row in group:
        size = size.plus(sequences[row], with_prompt=row == group[0])
    return size


def lengths(sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """How many completion tokens count in the loss [B]."""
    counts = [len(row.completion) if row.loss_mask is None else sum(row.loss_mask) for row in sequences]
    return torch.tensor(counts, device=device)


def loss_mask(sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """1 where a completion token counts in the loss, 0 on padding and on what tools wrote [B, T]."""
    return _right_padded([row.loss_mask or [1] * len(row.completion) for row in sequences]).to(device).float()


def _right_padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Padded with 0 on the right; any id would do, since padding is in no loss."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
