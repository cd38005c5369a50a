"""Token sequences to tensors: micro-batches of similar length under a budget of tokens, padding included.

Shapes: B rows, L input tokens, T completion tokens.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """A prompt and its completion, as ids."""

    prompt: list[int]
    completion: list[int]

    @property
    def total(self) -> int:
        """All tokens."""
        return len(self.prompt) + len(self.completion)


class Padded(NamedTuple):
    """Some sequences, padded on the right, so that a causal model needs no mask and positions count from 0.

    `position_BT` is where the hidden state that predicts completion token t stands: one before the token itself.
    """

    input_BL: Tensor
    position_BT: Tensor
    target_BT: Tensor
    mask_BT: Tensor


def micro_batches(sequences: Sequence[Tokens], rows: Iterable[int], budget: int) -> list[list[int]]:
    """The rows, longest first, in groups whose padded size fits the budget; a row beyond it goes alone."""
    groups: list[list[int]] = []
    width = 0
    for row in sorted(rows, key=lambda row: (-sequences[row].total, row)):
        if not groups or (len(groups[-1]) + 1) * width > budget:
            groups.append([])
            width = sequences[row].total
        groups[-1].append(row)
    return groups


def pad(sequences: Sequence[Tokens], device: torch.device) -> Padded:
    """One micro-batch. The last completion token is a target only, never an input."""
    inputs = _filled([torch.tensor([*row.prompt, *row.completion[:-1]]) for row in sequences])
    targets = _filled([torch.tensor(row.completion, dtype=torch.long) for row in sequences])
    length_B1 = torch.tensor([[len(row.completion)] for row in sequences])
    start_B1 = torch.tensor([[len(row.prompt) - 1] for row in sequences])
    time_T = torch.arange(targets.shape[1])
    mask_BT = time_T < length_B1
    position_BT = torch.where(mask_BT, start_B1 + time_T, 0)
    return Padded(*(tensor.to(device) for tensor in (inputs, position_BT, targets, mask_BT.float())))


def lengths(sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """Completion lengths [B]."""
    return torch.tensor([len(row.completion) for row in sequences], device=device)


def _filled(rows: list[Tensor]) -> Tensor:
    """Right-padded with id 0: any id will do, for nothing that counts looks at it."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
