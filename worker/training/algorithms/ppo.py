"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with a critic and generalised advantages.

    delta_t = r_t + gamma V_{t+1} - V_t,    A_t = delta_t + gamma lambda A_{t+1},    R_t = A_t + V_t
    rho_t   = pi(y_t) / pi_old(y_t)
    J       = mean_i mean_t min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)
    L_phi   = mean_i mean_t (V_t - R_t)^2

The reward stands on the last token; V = 0 after it. A and R are fixed before the first update of a step. With beta > 0
r_t loses beta KL_t(pi_old || ref) (InstructGPT), or the loss gains it. Whitening, value clip and dual clip are
options. log rho is held within +-20. PPO-ptx (InstructGPT, equation 2) adds - coef mean log pi of given texts to each
update.
Shapes: B responses, T tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from service.domain.algorithms import PPOSpec
from worker.training.algorithm import algorithm
from worker.training.experience.collect import Experience
from worker.training.objectives.advantages import gae, on_last_token, whitened
from worker.training.objectives.aggregate import Averages, TokenLosses
from worker.training.objectives.surrogate import Batch, clipped, ratio, regularized
from worker.training.policy_optimization import critic
from worker.training.policy_optimization.critic import Critic, explained_variance
from worker.training.policy_optimization.policy_gradient import (
    PolicyAlgorithm,
    minibatches,
    passes,
    token_kl,
    update_metrics,
    weights,
)
from worker.training.policy_optimization.ptx import PTX, PTXLoss
from worker.training.sequences.batching import MicroBatch
from worker.training.setup.job import Setup
from worker.training.updates.gradients import TokenLoss, update
from worker.training.updates.optim import Learner


@dataclass(frozen=True)
class PPOObjective:
    """J of each token."""

    spec: PPOSpec

    def token_losses(self, batch: Batch, advantage_BT: Tensor) -> TokenLosses:
        """-J of each token."""
        ratio_BT = ratio(batch.predicted.logp_BT, batch.old_BT, batch.mask_BT, self.spec.importance_level)
        surrogate_BT, stopped_BT = clipped(ratio_BT, advantage_BT, self.spec)
        loss_BT, values = regularized(-surrogate_BT, ratio_BT, batch, self.spec)
        return loss_BT, {**values, "policy/clip_fraction": stopped_BT.float()}


def value_losses(value_BT: Tensor, old_BT: Tensor, return_BT: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """Squared error to the return, or that of a clipped value if larger; and 1 where the clip stops the gradient."""
    error_BT = (value_BT - return_BT).square()
    if clip is None:
        return error_BT, torch.zeros_like(error_BT)
    near_old_BT = torch.maximum(torch.minimum(value_BT, old_BT + clip), old_BT - clip)
    clipped_BT = (near_old_BT - return_BT).square()
    return torch.maximum(error_BT, clipped_BT), ((clipped_BT > error_BT) & (near_old_BT != value_BT)).float()


class Targets(NamedTuple):
    """The targets of a step's updates, fixed before the first one [B, T]."""

    value_BT: Tensor
    """V before the step."""
    advantage_BT: Tensor
    return_BT: Tensor


@dataclass(frozen=True)
class CriticLoss(TokenLoss[Tensor]):
    """L_phi of some responses, as the critic is now."""

    critic: Critic
    targets: Targets
    clip: float | None

    def forward(self, batch: MicroBatch) -> Tensor:
        """V of each token."""
        value_BT: Tensor = self.critic(batch)
        return value_BT

    def token_losses(self, rows: list[int], predicted: Tensor, mask_BT: Tensor) -> TokenLosses:
        """(V - R)^2 of each token."""
        tokens = mask_BT.shape[1]
        old_BT, return_BT = self.targets.value_BT[rows, :tokens], self.targets.return_BT[rows, :tokens]
        loss_BT, stopped_BT = value_losses(predicted, old_BT, return_BT, self.clip)
        stopped = {} if self.clip is None else {"critic/clip_fraction": stopped_BT}
        return loss_BT, {"critic/value": predicted, **stopped}


@algorithm("ppo")
class PPO(PolicyAlgorithm[PPOSpec]):
    """A step that also trains the critic; the advantages come from its values."""

    def __init__(self, setup: Setup, spec: PPOSpec) -> None:
        super().__init__(setup, spec, PPOObjective(spec), spec.loss_aggregation, first_step=spec.critic_warmup_steps)
        self._ptx = PTX(setup, spec.ptx) if spec.ptx else None
        self._critic = critic.build(setup, spec.critic_model)
        self._critic_learner = Learner(
            self._critic, spec.critic_learning_rate or 0.0, setup.spec.optimizer, setup.steps, "critic"
        )
        self.state.learners["critic"] = self._critic_learner

    def learn(self, step: int, experience: Experience) -> dict[str, float]:
        """Compute values, update the critic and (after its warm-up) the policy."""
        targets = self.targets(experience)
        metrics = self.update_critic(step, experience, targets)
        if step < self._learner.first_step:
            return metrics
        updated = self.update_policy(step, experience, targets.advantage_BT)
        spread = float(targets.advantage_BT[experience.mask_BT.bool()].std(correction=0))
        return metrics | updated | {"policy/advantage_std": spread}

    def targets(self, experience: Experience) -> Targets:
        """A and R of each token; with `kl_placement: reward` the KL is subtracted from the reward first."""
        spec, mask_BT = self._spec, experience.mask_BT
        value_BT = self._setup.tokens.run(lambda budget: self._critic.values(experience.sequences, budget))
        reward_BT = on_last_token(experience.reward_B, mask_BT)
        if experience.ref_BT is not None and spec.kl_placement == "reward":
            reward_BT = reward_BT - self._reference.beta * token_kl(experience, spec)
        if spec.whiten_rewards:
            reward_BT = whitened(reward_BT, mask_BT, keep_mean=True)
        advantage_BT = gae(reward_BT, value_BT, mask_BT, spec.gamma, spec.gae_lambda)
        return_BT = advantage_BT + value_BT
        if spec.whiten_advantages:
            advantage_BT = whitened(advantage_BT, mask_BT)
        return Targets(value_BT, advantage_BT, return_BT)

    def update_critic(self, step: int, experience: Experience, targets: Targets) -> dict[str, float]:
        """All updates of the critic in a step."""
        spec, averages, updates = self._spec, Averages(), []
        iterations, parts = passes(spec)
        iterations, parts = spec.critic_num_iterations or iterations, spec.critic_minibatches or parts
        for rows in iterations * minibatches(experience.place_B // spec.num_generations, parts):
            loss = CriticLoss(
                sequences=experience.sequences,
                rows=rows,
                weight_N=weights(experience, rows, spec, spec.loss_aggregation),
                packing=self._critic.packing,
                critic=self._critic,
                targets=targets,
                clip=spec.value_clip,
            )
            updates.append(update(self._critic_learner, step, [loss], self._setup.tokens, averages, self._setup.world))
        explained = explained_variance(targets.return_BT, targets.value_BT, experience.mask_BT)
        metrics = update_metrics(self._critic_learner, step, updates)
        return metrics | {"critic/explained_variance": explained} | averages.read(self._setup.world)

    def further_losses(self, step: int, number: int) -> list[PTXLoss]:
        """The loss of PPO-ptx, where the spec has it."""
        iterations, parts = passes(self._spec)
        return [self._ptx.loss(step * iterations * parts + number)] if self._ptx else []
