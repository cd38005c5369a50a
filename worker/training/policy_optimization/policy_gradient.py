"""A step of every algorithm that learns from rewards, in one page.

    sample       responses of the policy, scored: the step's `Experience`             `collect.py`
    reference    log pi_ref of them, where there is a KL term                         `reference.py`
    advantages   what each response, or each token, is worth                          the algorithm's own file
    pi_old       log pi before the first update, by the pass that trains              `old_logprobs` here
    update       for each minibatch: the gradient of its loss, then the optimizer     `PolicyLoss` here, `gradients.py`
    metrics      of all of these

What a paper defines, its advantages and the loss of a token, is an `Objective` in the algorithm's file. PPO learns a
critic as well, and its advantages come from there: it overrides `learn`.
Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, product
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from service.domain.algorithms import LossAggregation, PolicySpec, ReuseSpec
from worker.training.algorithm import Algorithm, AlgorithmState, Stateful, StepResult
from worker.training.experience.collect import Experience, RolloutWorker
from worker.training.models.logprobs import Predicted, frozen_logprobs, predict
from worker.training.models.policy import Policy
from worker.training.objectives.aggregate import Averages, TokenLosses, row_weights
from worker.training.objectives.kl import estimate, log_ratio
from worker.training.objectives.surrogate import Batch
from worker.training.policy_optimization.reference import Reference
from worker.training.sequences.batching import MicroBatch, Tokens
from worker.training.setup.job import Setup
from worker.training.updates.gradients import Loss, TokenLoss, UpdateResult, update
from worker.training.updates.optim import Learner

Spec = TypeVar("Spec", bound=PolicySpec)
PER_PASS = ("policy/ratio", "policy/ratio_max", "policy/kl_old", "policy/clip_fraction")
"""Metrics that change from pass to pass over the same responses."""


class Objective(Protocol):
    """The policy's loss, as a paper defines it."""

    def token_losses(self, batch: Batch, advantage_BT: Tensor) -> TokenLosses:
        """The loss of each token [B, T], given its advantage [B, T], or its response's [B, 1]."""
        ...


class GroupObjective(Objective, Protocol):
    """An objective without a critic: its advantages compare the responses to a prompt."""

    def advantages(self, reward_PG: Tensor) -> Tensor:
        """The advantage of each response [P, G]."""
        ...


@dataclass(frozen=True)
class PolicyLoss(TokenLoss[Predicted]):
    """An objective, over some responses, of the policy as it is now."""

    policy: Policy
    spec: PolicySpec
    objective: Objective
    experience: Experience
    advantage_BT: Tensor
    """Of each token [B, T], or of each response [B, 1]."""
    old_BT: Tensor
    """log pi_old [B, T]."""
    beta: float
    """The weight of the KL term in this step."""
    is_first: bool
    """Whether no update was made yet: pi is pi_old, and this pass computes it."""
    number: int | None
    """Which pass over the responses this is, from 1; None if there is only one."""

    def forward(self, batch: MicroBatch) -> Predicted:
        """log pi of the responses, under the distribution that they were sampled from."""
        return predict(self.policy, batch, self.spec.temperature, entropy=self.spec.entropy_coef > 0)

    def token_losses(self, rows: list[int], predicted: Predicted, mask_BT: Tensor) -> TokenLosses:
        """The objective's losses. The longest response of a micro-batch may be shorter than that of the step."""
        tokens, ref_BT = mask_BT.shape[1], self.experience.ref_BT
        if self.is_first:
            self.old_BT[rows, :tokens] = predicted.logp_BT.detach()  # every ratio is 1, in every precision
        old_BT, sampler_BT = self.old_BT[rows, :tokens], self.experience.sampler_BT[rows, :tokens]
        batch = Batch(predicted, old_BT, None if ref_BT is None else ref_BT[rows, :tokens], mask_BT, self.beta)
        sampler_ratio_BT, correction = log_ratio(old_BT, sampler_BT).exp(), self.spec.sampler_correction
        advantage_BT = self.advantage_BT[rows, :tokens]
        if correction is not None:
            advantage_BT = advantage_BT * sampler_ratio_BT.clamp(max=correction.cap)
        loss_BT, values = self.objective.token_losses(batch, advantage_BT)
        disagreement = {
            "policy/sampler_logp_diff": (old_BT - sampler_BT).abs(),
            "policy/sampler_ratio": sampler_ratio_BT,
            "policy/sampler_ratio_max": sampler_ratio_BT,
        }
        return loss_BT, {**values, **disagreement, **self._of_pass(values)}

    def _of_pass(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a further pass changes, by the pass."""
        if self.number is None:
            return {}
        return {f"{name}@{self.number}": values[name] for name in PER_PASS if name in values}


class PolicyAlgorithm(Algorithm, Generic[Spec]):
    """One batch of responses a step, with all updates that are made from it."""

    def __init__(
        self,
        setup: Setup,
        spec: Spec,
        objective: Objective,
        aggregation: LossAggregation,
        *,
        first_step: int = 0,
    ) -> None:
        """`first_step`: the step, counted from 0, with which the training of the policy begins."""
        self._setup, self._spec = setup, spec
        self._objective, self._aggregation = objective, aggregation
        self._rollouts, self._reference = RolloutWorker(setup, spec), Reference(setup, spec)
        self._learner = setup.learner(first_step=first_step)
        # "actor" is what checkpoints call the part that samples; they outlive the names in the code.
        parts: dict[str, Stateful] = {"actor": self._rollouts, "reference": self._reference}
        self.state = AlgorithmState({"policy": self._learner}, self._reference.modules(), parts)

    def advance(self, step: int) -> StepResult:
        """One step, counted from 0: sample, update the policy, update the reference."""
        sampled = self._rollouts.collect(step)
        start = perf_counter()
        ref_BT = self._reference.logprobs(sampled.sequences) if sampled.sequences else None
        experience = replace(sampled, ref_BT=ref_BT)
        learned = self.learn(step, experience) if sampled.sequences else self._nothing_learned(step)
        metrics = sampled.metrics | learned | self._update_reference(step, experience)
        return StepResult(metrics | {"time/train": perf_counter() - start}, sampled.samples)

    def _update_reference(self, step: int, experience: Experience) -> dict[str, float]:
        """A policy that is not trained yet has no KL, which says nothing of what beta would have to be."""
        return self._reference.update_reference(step, experience, adapts=step >= self._learner.first_step)

    def _nothing_learned(self, step: int) -> dict[str, float]:
        """No response counts: the weights stay."""
        learner = self._learner
        zeros = {learner.metric("loss"): 0.0, learner.metric("grad_norm"): 0.0}
        return zeros | {learner.metric("learning_rate"): learner.rate(step)}

    @abstractmethod
    def learn(self, step: int, experience: Experience) -> dict[str, float]:
        """The advantages, and all updates of a step; their metrics."""

    def update_policy(
        self, step: int, experience: Experience, advantage_BT: Tensor, has_gradient_B: Tensor | None = None
    ) -> dict[str, float]:
        """All updates of the policy in a step; its metrics are averages over the losses' tokens, with their weights.

        Responses whose loss has no gradient are not run through the model, though they count in the mean.
        """
        spec, policy, averages = self._spec, self._setup.policy, Averages()
        iterations, parts = passes(spec)
        batches = minibatches(experience.place_B // spec.num_generations, parts)
        in_forward = [_with_gradient(rows, has_gradient_B) for rows in batches]
        old_BT = self.old_logprobs(experience, in_forward[1:])
        updates: list[UpdateResult] = []
        for number, (iteration, part) in enumerate(product(range(iterations), range(len(batches)))):
            loss = PolicyLoss(
                sequences=experience.sequences,
                rows=in_forward[part],
                weight_N=weights(experience, batches[part], spec, self._aggregation),
                packing=policy.packing,
                policy=policy,
                spec=spec,
                objective=self._objective,
                experience=experience,
                advantage_BT=advantage_BT,
                old_BT=old_BT,
                beta=self._reference.beta,
                is_first=number == 0 and spec.partial_rollout_length is None,
                number=iteration + 1 if iterations > 1 else None,
            )
            losses = [loss, *self.further_losses(step, number)]
            updates.append(update(self._learner, step, losses, self._setup.tokens, averages, self._setup.world))
        return update_metrics(self._learner, step, updates) | averages.read(self._setup.world)

    def old_logprobs(self, experience: Experience, later: Sequence[list[int]]) -> Tensor:
        """log pi_old [B, T] as the pass that trains computes it; the first update's own pass fills in its rows.

        In bf16 the sampler rounds otherwise than that pass: its log-probabilities would put responses of an unchanged
        policy outside of the clip. `later` are the rows of the updates after the first in a pass. Partial rollouts were
        sampled by older policies, so pi_old is theirs.
        """
        old_BT = experience.sampler_BT.clone()
        for rows in later if self._spec.partial_rollout_length is None else ():
            part_BT = self._frozen([experience.sequences[row] for row in rows])
            old_BT[rows, : part_BT.shape[1]] = part_BT
        return old_BT

    def _frozen(self, sequences: list[Tokens]) -> Tensor:
        """By the same operations, on the same micro-batches, as in the loss: its rounding is the same."""
        policy, temperature, entropy = self._setup.policy, self._spec.temperature, self._spec.entropy_coef > 0
        return self._setup.tokens.run(
            lambda budget: frozen_logprobs(policy, sequences, temperature, budget, entropy=entropy)
        )

    def further_losses(self, step: int, number: int) -> Sequence[Loss[Any]]:
        """Losses that are added in an update of a step; step and update are counted from 0."""
        return []


class PolicyGradient(PolicyAlgorithm[Spec]):
    """The algorithms without a critic: the responses to each prompt are compared with each other."""

    def __init__(
        self,
        setup: Setup,
        spec: Spec,
        objective: GroupObjective,
        aggregation: LossAggregation,
        *,
        gradient_at_zero: bool = False,
    ) -> None:
        """`gradient_at_zero`: whether the loss of a response with an advantage of 0 has a gradient."""
        super().__init__(setup, spec, objective, aggregation)
        self._group_objective, self._gradient_at_zero = objective, gradient_at_zero

    def learn(self, step: int, experience: Experience) -> dict[str, float]:
        """Compute the advantages, then update."""
        advantage_B = self.advantages(experience)
        spread = float(advantage_B.std(correction=min(1, len(advantage_B) - 1)))
        has_gradient_B = None if self._gradient_at_zero else has_gradient(advantage_B, experience, self._spec)
        updated = self.update_policy(step, experience, advantage_B[:, None], has_gradient_B)
        return {"policy/advantage_std": spread} | updated

    def advantages(self, experience: Experience) -> Tensor:
        """The advantages of all responses [B]; with `kl_placement: reward` minus the KL."""
        reward_B = experience.reward_B
        if experience.ref_BT is not None and self._spec.kl_placement == "reward":
            reward_B = reward_B - self._reference.beta * token_kl(experience, self._spec).sum(dim=1)
        advantage_PG = self._group_objective.advantages(experience.grouped(reward_B, self._spec.num_generations))
        return advantage_PG.flatten()[experience.place_B]


def update_metrics(learner: Learner, step: int, updates: Sequence[UpdateResult]) -> dict[str, float]:
    """Means over a learner's updates in a step."""
    return {
        learner.metric("loss"): float(torch.stack([each.loss for each in updates]).mean()),
        learner.metric("grad_norm"): float(torch.stack([each.norm for each in updates]).mean()),
        learner.metric("learning_rate"): learner.rate(step),
    }


def passes(spec: PolicySpec) -> tuple[int, int]:
    """How often a batch of responses is used, and in how many updates each time."""
    return (spec.num_iterations, spec.minibatches) if isinstance(spec, ReuseSpec) else (1, 1)


def minibatches(group_B: Tensor, parts: int) -> list[list[int]]:
    """The rows of each update of a pass: whole groups, in the prompts' (already shuffled) order, as even as can be.

    There may be fewer groups than there should be parts: then there is one update for each.
    """
    of_row = group_B.tolist()
    groups = [list(rows) for _, rows in groupby(range(len(of_row)), key=of_row.__getitem__)]
    parts = min(parts, len(groups))
    edges = [len(groups) * part // parts for part in range(parts + 1)]
    return [[row for group in groups[start:end] for row in group] for start, end in pairwise(edges)]


def weights(experience: Experience, rows: list[int], spec: PolicySpec, mode: LossAggregation) -> Tensor:
    """w_i of the given rows, 0 for all others [B]."""
    group_B = experience.place_B // spec.num_generations
    weight_B = torch.zeros_like(experience.reward_B)
    weight_B[rows] = row_weights(
        experience.length_B[rows], mode, group_B=group_B[rows], max_length=spec.max_completion_length
    )
    return weight_B


def _with_gradient(rows: list[int], has_gradient_B: Tensor | None) -> list[int]:
    return rows if has_gradient_B is None else [row for row in rows if has_gradient_B[row]]


def has_gradient(advantage_B: Tensor, experience: Experience, spec: PolicySpec) -> Tensor | None:
    """Responses whose loss has a gradient [B]: an advantage, or a KL or an entropy in the loss; None: all of them."""
    has_kl_loss = experience.ref_BT is not None and spec.beta > 0 and spec.kl_placement == "loss"
    if spec.zero_variance == "off" or has_kl_loss or spec.entropy_coef > 0:
        return None
    return advantage_B != 0


def token_kl(experience: Experience, spec: PolicySpec) -> Tensor:
    """The KL of each token, to be subtracted from the reward: of the policy that sampled, without gradient [B, T]."""
    assert experience.ref_BT is not None
    return estimate(spec.kl_estimator, experience.sampler_BT, experience.ref_BT) * experience.mask_BT
