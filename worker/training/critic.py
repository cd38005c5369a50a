"""The critic V_phi: the policy's backbone in weights of its own, and a scalar head that starts at 0.

Shapes: B rows, T completion tokens, H hidden units.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.training.batching import Padded, Tokens, micro_batches, pad
from worker.training.logprobs import at
from worker.training.models import Policy


class Critic(nn.Module):
    """V(q, o_<t): what reward a response will end with, judged before its token t."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(policy.model.base_model)
        self.head = nn.Linear(policy.head.weight_VH.shape[1], 1, device=policy.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._autocast, self._device = policy.autocast, policy.device

    def forward(self, batch: Padded) -> Tensor:
        """V at each completion token [B, T]; 0 where there is none."""
        with self._autocast():
            hidden_BLH = self.backbone(input_ids=batch.input_BL, use_cache=False).last_hidden_state
        present_BT = batch.mask_BT.bool()
        value_N = self.head(at(hidden_BLH, batch.position_BT, present_BT).float())[:, 0]
        return torch.zeros_like(batch.mask_BT).masked_scatter(present_BT, value_N)

    @torch.no_grad()
    def values(self, sequences: Sequence[Tokens], budget: int) -> Tensor:
        """V of all sequences, without gradient [B, T]."""
        width = max(len(row.completion) for row in sequences)
        value_BT = torch.zeros(len(sequences), width, device=self._device)
        for rows in micro_batches(sequences, range(len(sequences)), budget):
            part_BT = self(pad([sequences[row] for row in rows], self._device))
            value_BT[rows, : part_BT.shape[1]] = part_BT
        return value_BT


def explained_variance(return_BT: Tensor, value_BT: Tensor, mask_BT: Tensor) -> float:
    """1 - Var(R - V) / Var(R) over all tokens; 0 for a critic that says nothing, or when all returns are equal."""
    present_BT = mask_BT.bool()
    spread = return_BT[present_BT].var(correction=0)
    rest = (return_BT - value_BT)[present_BT].var(correction=0)
    return float(1 - rest / spread) if float(spread) > 1e-12 else 0.0
