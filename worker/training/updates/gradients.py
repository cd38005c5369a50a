"""One update of some weights: the gradient of a sum of losses, micro-batch by micro-batch; a check; the optimizer.

    L = sum over the losses of   sum_i w_i sum_t l_it

Every weight w_i is known before the first forward pass. So each micro-batch adds its share to the gradients, nothing is
divided afterwards, and how a batch is cut changes no more than the rounding.

    update -> Budget.run -> gather -> accumulate -> loss.micro_batches, loss.forward, loss.weighted -> backward

Shapes: N sequences; B = the rows of a micro-batch, T tokens.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from worker.training.objectives.aggregate import Averages, TokenLosses
from worker.training.sequences.batching import MicroBatch, Tokens, micro_batches
from worker.training.updates.finite import NonFiniteLayer, NotFinite, non_finite_gradient, non_finite_weight
from worker.training.updates.memory import Budget
from worker.training.updates.optim import Learner
from worker.training.world import World

Prediction = TypeVar("Prediction")


class WeightedLosses(NamedTuple):
    """The losses of one micro-batch; its share of the whole loss is sum(loss * weight)."""

    loss: Tensor
    """Of each token [B, T], or of each pair [P]."""
    weight: Tensor
    """Of the same shape; 0 where the loss does not count."""
    values: Mapping[str, Tensor]
    """Further values of each token or pair, averaged with these weights for the metrics."""


class Loss(Protocol[Prediction]):
    """A loss whose gradient is the sum over micro-batches."""

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        ...

    def micro_batches(self, budget: int) -> Iterator[tuple[list[int], MicroBatch]]:
        """Its rows and their tensors, in micro-batches of at most `budget` tokens."""
        ...

    def forward(self, batch: MicroBatch) -> Prediction:
        """The forward pass of a micro-batch; repeated after a NaN, to find the layer that computed it first."""
        ...

    def weighted(self, rows: list[int], batch: MicroBatch, predicted: Prediction) -> WeightedLosses:
        """The losses of a micro-batch, given its forward pass."""
        ...


@dataclass(frozen=True)
class TokenLoss(ABC, Generic[Prediction]):
    """sum_i w_i sum_t l_it over some rows of some sequences: a `Loss` whose l_it stands on a completion token.

    Example: two of three sequences, of two and one completion tokens, in the mean over three sequences

        sequences  [Tokens([5], [6, 7]), Tokens([5], [8]), Tokens([9], [4, 4])]
        rows       [0, 1]                 the third is in this update, but its loss has no gradient
        weight_N   [1/6, 1/3, 1/6]        1 / (length * 3): it still counts in the mean
    """

    sequences: Sequence[Tokens]
    rows: Sequence[int]
    """The sequences of which the model makes a forward pass."""
    weight_N: Tensor
    """w_i of every sequence; only those of `rows` are used."""
    packing: bool
    """Whether `forward` may lay sequences end to end, in which case a prompt that they share counts once."""

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        return self.weight_N.device

    @abstractmethod
    def forward(self, batch: MicroBatch) -> Prediction:
        """The forward pass of some sequences."""

    @abstractmethod
    def token_losses(self, rows: list[int], predicted: Prediction, mask_BT: Tensor) -> TokenLosses:
        """l_it of some rows."""

    def micro_batches(self, budget: int) -> Iterator[tuple[list[int], MicroBatch]]:
        """Rows of similar length, or that share a prompt, go together."""
        for rows in micro_batches(self.sequences, self.rows, budget, packing=self.packing):
            yield rows, MicroBatch([self.sequences[row] for row in rows], self.device)

    def weighted(self, rows: list[int], batch: MicroBatch, predicted: Prediction) -> WeightedLosses:
        """Each token of a sequence has the sequence's weight; padding and the output of tools have none."""
        loss_BT, values = self.token_losses(rows, predicted, batch.mask_BT)
        return WeightedLosses(loss_BT, self.weight_N[rows][:, None] * batch.mask_BT, values)


class UpdateResult(NamedTuple):
    """The loss before an update, and the norm of its gradient before clipping."""

    loss: Tensor
    norm: Tensor


def update(
    learner: Learner, step: int, losses: Sequence[Loss[Any]], budget: Budget, averages: Averages, world: World
) -> UpdateResult:
    """Move the learner's weights down the gradient of the sum of the losses; NotFinite, and no move, if that is NaN."""
    local_loss, local_averages = budget.run(partial(gather, losses), undo=learner.clear)
    loss = world.sum(local_loss)
    learner.sum_gradients(world)
    # Both are checked before the weights move: a NaN in AdamW's moments would stay there for ever.
    if not math.isfinite(value := float(loss)):
        raise NotFinite(learner.metric("loss"), value, _origin(learner, losses, budget.size))
    norm = learner.norm()
    if not math.isfinite(value := float(norm)):
        raise NotFinite(learner.metric("grad_norm"), value, non_finite_gradient(learner.module))
    learner.move(step, norm)
    averages.merge(local_averages)
    return UpdateResult(loss, norm)


def gather(losses: Sequence[Loss[Any]], budget: int) -> tuple[Tensor, Averages]:
    """Add the gradient of all losses to that of the weights; the sum of the losses, and the averages for the metrics.

    The averages are new in each call: one that ran out of memory has already counted some micro-batches.
    """
    averages = Averages()
    return torch.stack([accumulate(loss, budget, averages) for loss in losses]).sum(), averages


def accumulate(loss: Loss[Any], budget: int, averages: Averages) -> Tensor:
    """Add the gradient of one loss to that of the weights; its value."""
    total = torch.zeros((), device=loss.device)  # also the loss of no rows
    for rows, batch in loss.micro_batches(budget):
        loss_BT, weight_BT, values = loss.weighted(rows, batch, loss.forward(batch))
        batch_loss = (loss_BT * weight_BT).sum()
        batch_loss.backward()  # type: ignore[no-untyped-call]  # at once, so that the activations of only one micro-batch are held
        # It stays a tensor: a float() here would make the host wait for the device in every micro-batch.
        total += batch_loss.detach()
        averages.add(values, weight_BT)
    return total


def _origin(learner: Learner, losses: Sequence[Loss[Any]], budget: int) -> str | None:
    """The name of the weight, or else of the layer, in which NaN or infinity came up first."""
    if name := non_finite_weight(learner.module):
        return name
    for loss in losses:
        for _, batch in loss.micro_batches(budget):
            with torch.no_grad(), NonFiniteLayer(learner.module) as first:
                loss.forward(batch)
            if first.name:
                return first.name
    return None
