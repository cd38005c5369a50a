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

from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from service.domain.algorithms import PPOSpec
from worker.training import critic
from worker.training.advantages import gae, on_last_token, whitened
from worker.training.aggregate import Averages
from worker.training.critic import explained_variance
from worker.training.experience import Actor, Experience
from worker.training.gradients import Term, update
from worker.training.improve import improve, minibatches, passes, token_kl, weights
from worker.training.optim import Learner
from worker.training.ptx import PTX
from worker.training.reference import Reference
from worker.training.setup import Advanced, Kept, Setup, Stateful
from worker.training.surrogate import Batch, TokenLosses, clipped, ratio, regularized


def token_losses(batch: Batch, advantage_BT: Tensor, spec: PPOSpec) -> TokenLosses:
    """-J of each token."""
    ratio_BT = ratio(batch.predicted.logp_BT, batch.old_BT, batch.mask_BT, spec.importance_level)
    surrogate_BT, stopped_BT = clipped(ratio_BT, advantage_BT, spec)
    loss_BT, values = regularized(-surrogate_BT, ratio_BT, batch, spec)
    return loss_BT, {**values, "policy/clip_fraction": stopped_BT.float()}


def value_losses(value_BT: Tensor, old_BT: Tensor, return_BT: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """Squared error to the return, or the larger of it and a clipped value's; and where that stops the gradient."""
    error_BT = (value_BT - return_BT).square()
    if clip is None:
        return error_BT, torch.zeros_like(error_BT)
    held_BT = torch.maximum(torch.minimum(value_BT, old_BT + clip), old_BT - clip)
    clipped_BT = (held_BT - return_BT).square()
    return torch.maximum(error_BT, clipped_BT), ((clipped_BT > error_BT) & (held_BT != value_BT)).float()


class Goals(NamedTuple):
    """What a step's updates aim at [B, T]."""

    value_BT: Tensor
    advantage_BT: Tensor
    return_BT: Tensor


class PPO:
    """One batch of responses a step, with all updates of critic and actor that are made from it."""

    def __init__(self, setup: Setup, spec: PPOSpec) -> None:
        self._setup, self._spec = setup, spec
        self._actor, self._reference = Actor(setup, spec), Reference(setup, spec)
        self._ptx = PTX(setup, spec.ptx) if spec.ptx else None
        self._critic = critic.build(setup, spec.critic_model)
        self._policy_learner = setup.learner()
        self._critic_learner = Learner(
            self._critic, spec.critic_learning_rate, setup.spec.optimizer, setup.spec.steps, "critic"
        )
        learners = {"policy": self._policy_learner, "critic": self._critic_learner}
        parts: dict[str, Stateful] = {"actor": self._actor, "reference": self._reference}
        self.kept = Kept(learners, self._reference.modules(), parts)

    def advance(self, step: int) -> Advanced:
        """Sample, value, update the critic and (after its warm-up) the actor."""
        seen = self._actor.act(step)
        start = perf_counter()
        ref_BT = self._reference.logprobs(seen.sequences)
        goals = self._goals(seen, ref_BT)
        metrics = self._improve_critic(step, seen, goals)
        if step >= self._spec.critic_warmup_steps:
            metrics |= self._improve_policy(step, seen, goals, ref_BT)
        metrics |= self._reference.follow(step, seen.old_BT, ref_BT, seen.mask_BT)
        return Advanced(seen.metrics | metrics | {"time/train": perf_counter() - start}, seen.samples)

    def _goals(self, seen: Experience, ref_BT: Tensor | None) -> Goals:
        spec, mask_BT = self._spec, seen.mask_BT
        value_BT = self._setup.tokens.run(lambda budget: self._critic.values(seen.sequences, budget))
        reward_BT = on_last_token(seen.reward_B, mask_BT)
        if ref_BT is not None and spec.kl_placement == "reward":
            reward_BT = reward_BT - self._reference.beta * token_kl(seen, ref_BT, spec)
        if spec.whiten_rewards:
            reward_BT = whitened(reward_BT, mask_BT, keep_mean=True)
        advantage_BT = gae(reward_BT, value_BT, mask_BT, spec.gamma, spec.gae_lambda)
        return_BT = advantage_BT + value_BT
        if spec.whiten_advantages:
            advantage_BT = whitened(advantage_BT, mask_BT)
        return Goals(value_BT, advantage_BT, return_BT)

    def _improve_policy(self, step: int, seen: Experience, goals: Goals, ref_BT: Tensor | None) -> dict[str, float]:
        def losses(rows: list[int], batch: Batch) -> TokenLosses:
            return token_losses(batch, goals.advantage_BT[rows, : batch.mask_BT.shape[1]], self._spec)

        ptx = self._ptx
        texts = ptx.draw(step, passes(self._spec)) if ptx else iter(())
        return improve(
            self._setup,
            self._spec,
            self._policy_learner,
            step,
            seen,
            losses,
            self._spec.loss_aggregation,
            ref_BT=ref_BT,
            beta=self._reference.beta,
            beside=lambda: [next(texts)] if ptx else [],
        ) | {"policy/advantage_std": float(goals.advantage_BT[seen.mask_BT.bool()].std(correction=0))}

    def _improve_critic(self, step: int, seen: Experience, goals: Goals) -> dict[str, float]:
        spec, learner, averages = self._spec, self._critic_learner, Averages()

        def losses(rows: list[int], value_BT: Tensor, mask_BT: Tensor) -> TokenLosses:
            tokens = mask_BT.shape[1]
            old_BT, return_BT = goals.value_BT[rows, :tokens], goals.return_BT[rows, :tokens]
            loss_BT, stopped_BT = value_losses(value_BT, old_BT, return_BT, spec.value_clip)
            stopped = {} if spec.value_clip is None else {"critic/clip_fraction": stopped_BT}
            return loss_BT, {"critic/value": value_BT, **stopped}

        iterations, parts = passes(spec)
        iterations, parts = spec.critic_num_iterations or iterations, spec.critic_minibatches or parts
        groups, updates = len(seen.sequences) // spec.num_generations, []
        for rows in minibatches(groups, spec.num_generations, iterations, parts):
            weight_B = weights(seen, rows, spec, spec.loss_aggregation)
            term = Term(seen.sequences, rows, weight_B, self._critic, losses, self._critic.packing)
            updates.append(update(learner, step, [term], self._setup.tokens, averages))
        return {
            "critic/loss": float(torch.stack([each.loss for each in updates]).mean()),
            "critic/grad_norm": float(torch.stack([each.norm for each in updates]).mean()),
            "critic/learning_rate": learner.rate(step),
            "critic/explained_variance": explained_variance(goals.return_BT, goals.value_BT, seen.mask_BT),
            **averages.read(),
        }
