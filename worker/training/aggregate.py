"""How the losses of tokens become one number, exactly, however the batch is cut into micro-batches.

Every mode is sum_i w_i sum_t l_it with weights that are known before any forward pass, so each micro-batch adds its
share and nothing is divided afterwards.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from service.domain.specs import LossAggregation


def row_weights(length_B: Tensor, mode: LossAggregation) -> Tensor:
    """w_i for rows of `length_B` tokens; a row without tokens counts in the means over rows, and adds 0."""
    rows = len(length_B)
    if mode == "token_mean":
        return torch.full_like(length_B, 1 / max(1.0, float(length_B.sum())), dtype=torch.float32)
    if mode == "seq_mean":
        return 1 / (length_B.clamp(min=1) * rows).float()
    return torch.full_like(length_B, 1 / rows, dtype=torch.float32)


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

    def read(self) -> dict[str, float]:
        """The means; waits for the device."""
        return {name: float(total / self._masses[name].clamp(min=1e-30)) for name, total in self._sums.items()}
