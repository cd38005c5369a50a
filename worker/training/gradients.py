"""The gradient of a weighted sum of token losses, gathered over micro-batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from worker.training.aggregate import Averages
from worker.training.batching import Padded, Tokens, micro_batches, pad

Predict = Callable[[Padded], Tensor]
TokenLoss = Callable[[list[int], Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
"""(rows, prediction [B, T], mask [B, T]) to the loss of each token [B, T] and what else to average."""


def accumulate(
    sequences: Sequence[Tokens],
    rows: Iterable[int],
    weight_N: Tensor,
    predict: Predict,
    token_loss: TokenLoss,
    budget: int,
    averages: Averages,
) -> Tensor:
    """Add the gradient of sum_i w_i sum_t l_it over `rows` to the weights; returns that sum.

    `weight_N` has a weight for every sequence, of which only those of `rows` are used.
    """
    total = torch.zeros((), device=weight_N.device)
    for group in micro_batches(sequences, rows, budget):
        batch = pad([sequences[row] for row in group], weight_N.device)
        loss_BT, values = token_loss(group, predict(batch), batch.mask_BT)
        weight_BT = weight_N[group][:, None] * batch.mask_BT
        loss = (loss_BT * weight_BT).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        averages.add(values, weight_BT)
    return total
