"""Log-probabilities of given completions: teacher-forced, on completion tokens only.

Shapes: B rows, T completion tokens, N = all tokens that count, H hidden units.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.training.batching import Padded, Tokens, micro_batches, pad
from worker.training.models import Policy


def completion_logprobs(policy: Policy, batch: Padded, temperature: float = 1.0) -> Tensor:
    """log pi(o_t | q, o_<t) under the distribution at `temperature` [B, T]; 0 where there is no token."""
    with policy.autocast():
        hidden_BLH = policy.hidden(batch.input_BL, use_cache=False)
    present_BT = batch.mask_BT.bool()
    hidden_NH = at(hidden_BLH, batch.position_BT, present_BT)
    logp_N = policy.head.logprobs(hidden_NH, batch.target_BT[present_BT], temperature)
    return torch.zeros_like(batch.mask_BT, dtype=logp_N.dtype).masked_scatter(present_BT, logp_N)


def at(hidden_BLH: Tensor, position_BT: Tensor, present_BT: Tensor) -> Tensor:
    """The hidden states that predict the tokens that count [N, H]."""
    rows, length, width = hidden_BLH.shape
    start_B1 = torch.arange(rows, device=hidden_BLH.device)[:, None] * length
    return hidden_BLH.reshape(rows * length, width).index_select(0, (start_B1 + position_BT)[present_BT])


@torch.no_grad()
def frozen_logprobs(policy: Policy, sequences: Sequence[Tokens], temperature: float, budget: int) -> Tensor:
    """The same for all sequences, without gradient [B, T]."""
    width = max(len(row.completion) for row in sequences)
    logp_BT = torch.zeros(len(sequences), width, device=policy.device)
    for rows in micro_batches(sequences, range(len(sequences)), budget):
        batch = pad([sequences[row] for row in rows], policy.device)
        part_BT = completion_logprobs(policy, batch, temperature)
        logp_BT[rows, : part_BT.shape[1]] = part_BT
    return logp_BT
