"""How the losses of tokens become one number, exactly, however the batch is cut into micro-batches.

Every mode is sum_i w_i sum_t l_it with weights that are known before any forward pass, so each micro-batch adds its
share and nothing is divided afterwards.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from service.domain.algorithms import LossAggregation
from worker.training.world import SINGLE_PROCESS, World

TokenLosses = tuple[Tensor, Mapping[str, Tensor]]
"""The loss of each token [B, T], and values for the metrics [B, T]."""


def row_weights(
    length_B: Tensor, mode: LossAggregation, *, group_B: Tensor | None = None, max_length: int | None = None
) -> Tensor:
    """w_i for rows of `length_B` tokens; a row without tokens counts in the means over rows, and adds 0.

    `const` divides by `max_length` instead of by lengths (Dr. GRPO, arXiv:2503.20783); `group_mean` is the mean over
    groups of the mean over their tokens, with `group_B` as the group of each row.
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
            assert group_B is not None
            groups, index_B = torch.unique(group_B, return_inverse=True)
            tokens_P = length_B.new_zeros(len(groups)).index_add(0, index_B, length_B).clamp(min=1)
            return (1 / (len(groups) * tokens_P).float())[index_B]


class Averages:
    """Means of per-token quantities over the tokens of the loss, with its weights; stays on the device until read.

    Of a quantity whose name ends in `_max` (before `@`), the largest value at such a token.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weight_sums: dict[str, Tensor] = {}
        self._largest: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor], weight_BT: Tensor) -> None:
        """Add per-token values `[B, T]`, each token with its weight."""
        for name, value_BT in values.items():
            if name.partition("@")[0].endswith("_max"):
                self._add_largest(name, value_BT.detach().where(weight_BT > 0, -torch.inf).amax())
                continue
            self._sums[name] = self._sums.get(name, weight_BT.new_zeros(())) + (value_BT.detach() * weight_BT).sum()
            self._weight_sums[name] = self._weight_sums.get(name, weight_BT.new_zeros(())) + weight_BT.sum()

    def merge(self, other: "Averages") -> None:
        """Add the sums of another one."""
        for name, total in other._sums.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(total)) + total
            self._weight_sums[name] = self._weight_sums.get(name, torch.zeros_like(total)) + other._weight_sums[name]
        for name, value in other._largest.items():
            self._add_largest(name, value)

    def read(self, world: World = SINGLE_PROCESS) -> dict[str, float]:
        """The means over the tokens of all ranks; waits for the device."""
        means = {
            name: float(world.sum(total) / world.sum(self._weight_sums[name]).clamp(min=1e-30))
            for name, total in self._sums.items()
        }
        return means | {name: float(world.max(value)) for name, value in self._largest.items()}

    def _add_largest(self, name: str, value: Tensor) -> None:
        self._largest[name] = torch.maximum(self._largest.get(name, value), value)
