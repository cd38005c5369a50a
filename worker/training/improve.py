"""The updates that a policy makes from one batch of responses.

Shapes: B = P*G responses, T tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from service.domain.algorithms import LossAggregation, PolicySpec, ReuseSpec
from worker.training.aggregate import Averages, row_weights
from worker.training.batching import MicroBatch
from worker.training.experience import Experience
from worker.training.gradients import Term, update
from worker.training.kl import estimate
from worker.training.logprobs import Predicted, predict
from worker.training.optim import Learner
from worker.training.setup import Setup
from worker.training.surrogate import Batch, TokenLosses

Losses = Callable[[list[int], Batch], TokenLosses]
"""(rows, what is known of them) to the loss of each token."""


def improve(
    setup: Setup,
    spec: PolicySpec,
    learner: Learner,
    step: int,
    seen: Experience,
    losses: Losses,
    aggregation: LossAggregation,
    *,
    ref_BT: Tensor | None = None,
    beta: float = 0.0,
    silent_B: Tensor | None = None,
    beside: Callable[[], Sequence[Term]] = tuple,
) -> dict[str, float]:
    """All updates of a step; its metrics are averages over the tokens of the losses, with their weights.

    `silent_B` marks the responses whose loss has no gradient, which are not run through the model; `beside` gives
    further terms for each update.
    """
    averages, sums = Averages(), []
    groups = len(seen.sequences) // spec.num_generations
    for index, rows in enumerate(minibatches(groups, spec.num_generations, *passes(spec))):
        first = index == 0

        def token_loss(group: list[int], predicted: Predicted, mask_BT: Tensor, first: bool = first) -> TokenLosses:
            tokens = mask_BT.shape[1]
            old_BT = seen.old_BT[group, :tokens]
            reference_BT = None if ref_BT is None else ref_BT[group, :tokens]
            loss_BT, values = losses(group, Batch(predicted, old_BT, reference_BT, mask_BT, beta))
            if first:  # the weights are still those that sampled
                values = {**values, "policy/sampler_logp_diff": (predicted.logp_BT - old_BT).abs()}
            return loss_BT, values

        def guess(batch: MicroBatch) -> Predicted:
            return predict(setup.policy, batch, spec.temperature, spec.entropy_coef > 0)

        weight_B = weights(seen, rows, spec, aggregation)
        speaks_B = weight_B != 0 if silent_B is None else (weight_B != 0) & ~silent_B
        spoken: list[int] = speaks_B.nonzero()[:, 0].tolist()
        term = Term(seen.sequences, spoken, weight_B, guess, token_loss, setup.policy.packing)
        sums.append(update(learner, step, [term, *beside()], setup.tokens, averages))
    return {
        learner.metric("loss"): float(torch.stack([each.loss for each in sums]).mean()),
        learner.metric("grad_norm"): float(torch.stack([each.norm for each in sums]).mean()),
        learner.metric("learning_rate"): learner.rate(step),
        **averages.read(),
    }


def passes(spec: PolicySpec) -> tuple[int, int]:
    """How often a batch of responses is gone through, and in how many updates each time."""
    return (spec.num_iterations, spec.minibatches) if isinstance(spec, ReuseSpec) else (1, 1)


def minibatches(groups: int, size: int, iterations: int, parts: int) -> Iterator[list[int]]:
    """The rows of each update: whole groups of `size`, in the prompts' (already shuffled) order, as even as can be.

    Partial rollouts may bring fewer groups than there should be parts: then there is one update for each.
    """
    parts = min(parts, groups)
    edges = [groups * part // parts * size for part in range(parts + 1)]
    for _ in range(iterations):
        yield from (list(range(start, end)) for start, end in pairwise(edges))


def weights(seen: Experience, rows: list[int], spec: PolicySpec, mode: LossAggregation) -> Tensor:
    """w_i of the given rows, 0 for all others [B]; also 0 for truncated ones if those are to teach nothing."""
    length_B = seen.length_B
    if spec.mask_truncated:
        length_B = length_B * ~seen.truncated_B
    weight_B = torch.zeros_like(seen.reward_B)
    weight_B[rows] = row_weights(
        length_B[rows], mode, group_size=spec.num_generations, max_length=spec.max_completion_length
    )
    return weight_B * (length_B > 0)


def token_kl(seen: Experience, ref_BT: Tensor, spec: PolicySpec) -> Tensor:
    """The KL of each token for a place in the reward: estimated from pi_old, without gradient [B, T]."""
    return estimate(spec.kl_estimator, seen.old_BT, ref_BT) * seen.mask_BT


def silent(advantage_B: Tensor, spec: PolicySpec, ref_BT: Tensor | None) -> Tensor | None:
    """Responses whose loss has no gradient: advantage 0, and neither KL nor entropy in the loss [B]."""
    pulled = ref_BT is not None and spec.kl_placement == "loss"
    if spec.zero_variance == "off" or pulled or spec.entropy_coef > 0:
        return None
    return advantage_B == 0
