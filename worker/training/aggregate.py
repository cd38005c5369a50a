"""How the losses of tokens become one number, exactly, however the batch is cut into micro-batches.

Every mode is sum_i w_i sum_t l_it with weights that are known before any forward pass, so each micro-batch adds its
share and nothing is divided afterwards.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from service.domain.algorithms import LossAggregation


def row_weights(
    length_B: Tensor, mode: LossAggregation, *, group_size: int = 1, max_length: int | None = None
) -> Tensor:
    """w_i for rows of `length_B` tokens; a row without tokens counts in the means over rows, and adds 0.

    `const` divides by `max_length` instead of by lengths (Dr. GRPO, arXiv:2503.20783); `group_mean` is the mean over
    groups of `group_size` neighbours of the mean over their tokens.
    """
    rows = len(length_B)
    match mode:
        case "token_mean":
            return torch.full_like(length_B, 1 / max(1.0, float(length_B.sum())), dtype=torch.float32)
        case "seq_mean":
            return 1 / (length_B.clamp(min=1) * rows).float()
        case "seq_sum":
            return torch.full_like(length_B, 1 / rows, dtype=torch.float32)
        case "const":
            assert max_length is not None
            return torch.full_like(length_B, 1 / (rows * max_length), dtype=torch.float32)
        case "group_mean":
            tokens_P1 = length_B.view(-1, group_size).sum(dim=1, keepdim=True).clamp(min=1)
            return (group_size / (rows * tokens_P1).float()).expand(-1, group_size).flatten()


class Averages:
    """Means of per-token quantities over the tokens of the loss, with its weights; stays on the device until read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._masses: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor], weight_BT: Tensor) -> None:
        """Count per-token values `[B, T]`, each token with its weight."""
        for name, value_BT in values.items():
            self._sums[name] = self._sums.get(name, weight_BT.new_zeros(())) + (value_BT.detach() * weight_BT).sum()
            self._masses[name] = self._masses.get(name, weight_BT.new_zeros(())) + weight_BT.sum()

    def merge(self, other: "Averages") -> None:
        """Count what another one has counted."""
        for name, total in other._sums.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(total)) + total
            self._masses[name] = self._masses.get(name, torch.zeros_like(total)) + other._masses[name]

    def read(self) -> dict[str, float]:
        """The means; waits for the device."""
        return {name: float(total / self._masses[name].clamp(min=1e-30)) for name, total in self._sums.items()}
