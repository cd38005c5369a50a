"""One update: the gradient of weighted sums of token losses, gathered over micro-batches, checked, and followed."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from worker.training.aggregate import Averages
from worker.training.batching import MicroBatch, Tokens, micro_batches, pad
from worker.training.finite import NotFinite, broken_gradient, broken_layer, broken_weight
from worker.training.memory import Budget
from worker.training.optim import Learner

Predict = Callable[[MicroBatch], Any]
TokenLoss = Callable[[list[int], Any, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
"""(rows, what was predicted, mask [B, T]) to the loss of each token [B, T] and what else to average."""
Gather = Callable[[int], tuple[Tensor, Averages]]
"""(size of a piece) to the loss, whose gradient it adds to the weights', and what else was averaged."""
Forwards = Callable[[int], Iterable[Callable[[], object]]]
"""(size of a piece) to the forward passes that lead to the loss."""


class Term(NamedTuple):
    """sum_i w_i sum_t l_it over some rows of some sequences."""

    sequences: Sequence[Tokens]
    rows: Iterable[int]
    weight_N: Tensor
    """One weight for every sequence, of which only those of `rows` are used."""
    predict: Predict
    token_loss: TokenLoss
    packing: bool = False
    """Whether `predict` may lay sequences end to end, in which case a prompt that they share counts once."""


class Updated(NamedTuple):
    """The loss before an update, and the norm of its gradient before clipping."""

    loss: Tensor
    norm: Tensor


def update(learner: Learner, step: int, terms: Sequence[Term], budget: Budget, averages: Averages) -> Updated:
    """Move the learner's weights down the gradient of the sum of the terms; NotFinite, and no move, if it is none."""

    def gather(size: int) -> tuple[Tensor, Averages]:
        seen = Averages()
        losses = [accumulate(term, size, seen) for term in terms]
        return torch.stack(losses).sum(), seen

    return descend(learner, step, gather, lambda size: _forwards(terms, size), budget, averages)


def descend(
    learner: Learner, step: int, gather: Gather, forwards: Forwards, budget: Budget, averages: Averages
) -> Updated:
    """The same for any loss; `forwards` is only asked where a number that is none began."""
    loss, seen = budget.run(gather, undo=learner.clear)
    if not math.isfinite(value := float(loss)):
        raise NotFinite(learner.metric("loss"), value, _where(learner, forwards(budget.size)))
    norm = learner.norm()
    if not math.isfinite(value := float(norm)):
        raise NotFinite(learner.metric("grad_norm"), value, broken_gradient(learner.module))
    learner.move(step, norm)
    averages.merge(seen)
    return Updated(loss, norm)


def accumulate(term: Term, budget: int, averages: Averages) -> Tensor:
    """Add the gradient of a term to the weights' gradients; returns its value."""
    total = torch.zeros((), device=term.weight_N.device)
    for group in micro_batches(term.sequences, term.rows, budget, term.packing):
        batch = pad([term.sequences[row] for row in group], total.device)
        loss_BT, values = term.token_loss(group, term.predict(batch), batch.mask_BT)
        weight_BT = term.weight_N[group][:, None] * batch.mask_BT
        loss = (loss_BT * weight_BT).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        averages.add(values, weight_BT)
    return total


def _forwards(terms: Sequence[Term], budget: int) -> Iterator[Callable[[], object]]:
    for term in terms:
        for group in micro_batches(term.sequences, term.rows, budget, term.packing):
            batch = pad([term.sequences[row] for row in group], term.weight_N.device)
            yield partial(term.predict, batch)


def _where(learner: Learner, forwards: Iterable[Callable[[], object]]) -> str | None:
    """The weight or layer in which a loss that is not finite began."""
    layers = (broken_layer(learner.module, forward) for forward in forwards)
    return broken_weight(learner.module) or next(filter(None, layers), None)
