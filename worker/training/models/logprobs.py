"""Log-probabilities of given completions: teacher-forced, on completion tokens only.

Shapes: B rows, T completion tokens, N = all tokens that count, H hidden units.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worker.training.models.policy import Policy
from worker.training.sequences.batching import MicroBatch, Tokens, micro_batches


class Predicted(NamedTuple):
    """Log-probabilities of given completions [B, T]; 0 where there is no token."""

    logp_BT: Tensor
    entropy_BT: Tensor | None
    """Of the distributions from which the tokens came, where it was asked for."""


def predict(policy: Policy, batch: MicroBatch, temperature: float = 1.0, *, entropy: bool = False) -> Predicted:
    """log pi(o_t | q, o_<t) under the distribution at `temperature`, and its entropy."""
    inputs, present_BT = batch.inputs(packing=policy.packing), batch.mask_BT.bool()
    with policy.autocast():
        hidden_BLH = policy.hidden(inputs.input_BL, use_cache=False, **inputs.state)
    hidden_NH, target_N = hidden_at(hidden_BLH, inputs.position_BT, present_BT), batch.target_BT[present_BT]
    if not entropy:
        return Predicted(_on_tokens(policy.head.logprobs(hidden_NH, target_N, temperature), present_BT), None)
    logp_N, entropy_N = policy.head.logprobs_and_entropy(hidden_NH, target_N, temperature)
    return Predicted(_on_tokens(logp_N, present_BT), _on_tokens(entropy_N, present_BT))


def _on_tokens(value_N: Tensor, present_BT: Tensor) -> Tensor:
    return torch.zeros_like(present_BT, dtype=value_N.dtype).masked_scatter(present_BT, value_N)


def hidden_at(hidden_BLH: Tensor, position_BT: Tensor, present_BT: Tensor) -> Tensor:
    """The hidden states that predict the tokens that count [N, H]."""
    rows, length, width = hidden_BLH.shape
    start_B1 = torch.arange(rows, device=hidden_BLH.device)[:, None] * length
    return hidden_BLH.reshape(rows * length, width).index_select(0, (start_B1 + position_BT)[present_BT])


@torch.no_grad()
def frozen_logprobs(
    policy: Policy, sequences: Sequence[Tokens], temperature: float, budget: int, *, entropy: bool = False
) -> Tensor:
    """The same for all sequences, without gradient [B, T].

    `entropy`: by the operations that compute the entropy as well, which round otherwise.
    """
    width = max((len(row.completion) for row in sequences), default=0)
    logp_BT = torch.zeros(len(sequences), width, device=policy.device)
    for rows in micro_batches(sequences, range(len(sequences)), budget, packing=policy.packing):
        batch = MicroBatch([sequences[row] for row in rows], policy.device)
        part_BT = predict(policy, batch, temperature, entropy=entropy).logp_BT
        logp_BT[rows, : part_BT.shape[1]] = part_BT
    return logp_BT
