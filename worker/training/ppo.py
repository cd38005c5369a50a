"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with a critic and generalised advantages.

    delta_t = r_t + gamma V_{t+1} - V_t,    A_t = delta_t + gamma lambda A_{t+1},    R_t = A_t + V_t
    rho_t   = pi(y_t) / pi_old(y_t)
    J       = mean_i mean_t min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)
    L_phi   = mean_i mean_t (V_t - R_t)^2

The reward stands on the last token; V = 0 after it. A and R are fixed before the first update of a step. No whitening,
no value clip, no KL. log rho is held within +-20. Shapes: B responses, T tokens.
"""

from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from service.domain.specs import PPOSpec
from worker.training.advantages import gae, on_last_token
from worker.training.aggregate import Averages, row_weights
from worker.training.critic import Critic, explained_variance
from worker.training.experience import Actor, Experience, minibatches
from worker.training.gradients import accumulate
from worker.training.kl import k3, log_ratio
from worker.training.logprobs import completion_logprobs
from worker.training.optim import Learner
from worker.training.setup import Advanced, Setup


def token_losses(
    logp_BT: Tensor, old_BT: Tensor, advantage_BT: Tensor, spec: PPOSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """-J of each token, and what a person watching would want to know [B, T]."""
    ratio_BT = log_ratio(logp_BT, old_BT).exp()
    clipped_BT = ratio_BT.clamp(1 - spec.clip_eps, 1 + (spec.clip_eps_high or spec.clip_eps))
    surrogate_BT = torch.minimum(ratio_BT * advantage_BT, clipped_BT * advantage_BT)
    return -surrogate_BT, {
        "policy/clip_fraction": (clipped_BT * advantage_BT < ratio_BT * advantage_BT).float(),
        "policy/kl_old": k3(logp_BT, old_BT),
    }


def value_losses(value_BT: Tensor, return_BT: Tensor) -> Tensor:
    """Squared error to the return [B, T]."""
    return (value_BT - return_BT).square()


class Goals(NamedTuple):
    """What a step's updates aim at [B, T]."""

    advantage_BT: Tensor
    return_BT: Tensor


class PPO:
    """One batch of responses a step, with all updates of actor and critic that are made from it."""

    def __init__(self, setup: Setup, spec: PPOSpec) -> None:
        self._setup, self._spec = setup, spec
        self._actor = Actor(setup, spec, "ppo")
        self._critic = Critic(setup.policy)
        self._policy_learner = setup.learner()
        self._critic_learner = Learner(self._critic, spec.critic_learning_rate, setup.spec.optimizer, setup.spec.steps)
        self.learners = {"policy": self._policy_learner, "critic": self._critic_learner}

    def advance(self, step: int) -> Advanced:
        """Sample, value, update the critic and (after its warm-up) the actor."""
        seen = self._actor.act(step)
        start = perf_counter()
        goals, metrics = self._goals(seen)
        averages, losses, norms, critic_losses = Averages(), [], [], []
        for rows in minibatches(self._spec):
            weight_B = torch.zeros_like(seen.reward_B)
            weight_B[rows] = row_weights(seen.length_B[rows], self._spec.loss_aggregation)
            critic_losses.append(self._descend_critic(seen, goals, rows, weight_B, averages))
            self._critic_learner.update(step)
            if step >= self._spec.critic_warmup_steps:
                losses.append(self._descend_policy(seen, goals, rows, weight_B, averages))
                norms.append(self._policy_learner.update(step))
        metrics |= {"critic/loss": _mean(critic_losses), "critic/learning_rate": self._critic_learner.rate(step)}
        if losses:
            rate = self._policy_learner.rate(step)
            metrics |= {"train/loss": _mean(losses), "train/grad_norm": _mean(norms), "train/learning_rate": rate}
        metrics |= averages.read() | {"time/train": perf_counter() - start}
        return Advanced(seen.metrics | metrics, seen.samples)

    def _goals(self, seen: Experience) -> tuple[Goals, dict[str, float]]:
        mask_BT = seen.mask_BT
        value_BT = self._critic.values(seen.sequences, self._setup.spec.micro_batch_tokens)
        reward_BT = on_last_token(seen.reward_B, mask_BT)
        advantage_BT = gae(reward_BT, value_BT, mask_BT, self._spec.gamma, self._spec.gae_lambda)
        return_BT = advantage_BT + value_BT
        return Goals(advantage_BT, return_BT), {
            "policy/advantage_std": float(advantage_BT[mask_BT.bool()].std(correction=0)),
            "critic/explained_variance": explained_variance(return_BT, value_BT, mask_BT),
        }

    def _descend_policy(
        self, seen: Experience, goals: Goals, rows: list[int], weight_B: Tensor, averages: Averages
    ) -> Tensor:
        """Gather the gradient of -J over some of the responses."""

        def losses(group: list[int], logp_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            tokens = logp_BT.shape[1]
            return token_losses(logp_BT, seen.old_BT[group, :tokens], goals.advantage_BT[group, :tokens], self._spec)

        policy, temperature, budget = self._setup.policy, self._spec.temperature, self._setup.spec.micro_batch_tokens
        return accumulate(
            seen.sequences,
            rows,
            weight_B,
            lambda padded: completion_logprobs(policy, padded, temperature),
            losses,
            budget,
            averages,
        )

    def _descend_critic(
        self, seen: Experience, goals: Goals, rows: list[int], weight_B: Tensor, averages: Averages
    ) -> Tensor:
        """Gather the gradient of L_phi over some of the responses."""

        def losses(group: list[int], value_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return value_losses(value_BT, goals.return_BT[group, : value_BT.shape[1]]), {"critic/value": value_BT}

        budget = self._setup.spec.micro_batch_tokens
        return accumulate(seen.sequences, rows, weight_B, self._critic, losses, budget, averages)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
