"""Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300).

    A_i   = (r_i - mean r) / std r                            over one prompt's G responses
    rho_t = pi(y_t) / pi_old(y_t)
    J     = mean_i mean_t [ min(rho_t A_i, clip(rho_t, 1 - eps, 1 + eps) A_i) - beta KL_t(pi || ref) ]

The KL term is k3, its gradient taken as written (which is the forward KL's in expectation). log rho is held within
+-20, and 1e-4 is added to the std. Responses of zero advantage are not run through the model when beta is 0: they have
no gradient; but they count in the mean. Shapes: P prompts, G responses each, B rows, T tokens.
"""

from time import perf_counter

import torch
from torch import Tensor

from service.domain.specs import GRPOSpec
from worker.training.advantages import group_advantages
from worker.training.aggregate import Averages, row_weights
from worker.training.experience import Actor, Experience, minibatches
from worker.training.gradients import accumulate
from worker.training.kl import k3, log_ratio
from worker.training.logprobs import completion_logprobs, frozen_logprobs
from worker.training.setup import Advanced, Setup


def token_losses(
    logp_BT: Tensor, old_BT: Tensor, ref_BT: Tensor | None, advantage_B1: Tensor, spec: GRPOSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """-J of each token, and what a person watching would want to know [B, T]."""
    ratio_BT = log_ratio(logp_BT, old_BT).exp()
    clipped_BT = ratio_BT.clamp(1 - spec.clip_eps, 1 + (spec.clip_eps_high or spec.clip_eps))
    surrogate_BT = torch.minimum(ratio_BT * advantage_B1, clipped_BT * advantage_B1)
    values = {
        "policy/clip_fraction": (clipped_BT * advantage_B1 < ratio_BT * advantage_B1).float(),
        "policy/kl_old": k3(logp_BT, old_BT),
    }
    if ref_BT is None:
        return -surrogate_BT, values
    kl_BT = k3(logp_BT, ref_BT)
    return spec.beta * kl_BT - surrogate_BT, values | {"policy/kl": kl_BT}


class GRPO:
    """One batch of responses a step, with all updates that are made from it."""

    def __init__(self, setup: Setup, spec: GRPOSpec) -> None:
        self._setup, self._spec = setup, spec
        self._actor = Actor(setup, spec, "grpo")
        self._reference = setup.first_policy() if spec.beta else None
        self._learner = setup.learner()
        self.learners = {"policy": self._learner}

    def advance(self, step: int) -> Advanced:
        """Sample, compare within groups, update."""
        seen = self._actor.act(step)
        start = perf_counter()
        advantage_B = group_advantages(seen.reward_B.view(-1, self._spec.num_generations)).flatten()
        ref_BT = self._reference_logprobs(seen)
        averages, losses, norms = Averages(), [], []
        for rows in minibatches(self._spec):
            losses.append(self._descend(seen, advantage_B, ref_BT, rows, averages))
            norms.append(self._learner.update(step))
        metrics = seen.metrics | {
            "train/loss": float(torch.stack(losses).mean()),
            "train/grad_norm": float(torch.stack(norms).mean()),
            "train/learning_rate": self._learner.rate(step),
            "policy/advantage_std": float(advantage_B.std()),
            **averages.read(),
            "time/train": perf_counter() - start,
        }
        return Advanced(metrics, seen.samples)

    def _descend(
        self, seen: Experience, advantage_B: Tensor, ref_BT: Tensor | None, rows: list[int], averages: Averages
    ) -> Tensor:
        """Gather the gradient of -J over some of the responses."""

        def losses(group: list[int], logp_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            tokens = logp_BT.shape[1]
            reference_BT = None if ref_BT is None else ref_BT[group, :tokens]
            return token_losses(
                logp_BT, seen.old_BT[group, :tokens], reference_BT, advantage_B[group, None], self._spec
            )

        weight_B = torch.zeros_like(advantage_B)
        weight_B[rows] = row_weights(seen.length_B[rows], self._spec.loss_aggregation)
        taught = rows if ref_BT is not None else [row for row in rows if advantage_B[row] != 0]
        policy, temperature, budget = self._setup.policy, self._spec.temperature, self._setup.spec.micro_batch_tokens
        return accumulate(
            seen.sequences,
            taught,
            weight_B,
            lambda padded: completion_logprobs(policy, padded, temperature),
            losses,
            budget,
            averages,
        )

    def _reference_logprobs(self, seen: Experience) -> Tensor | None:
        if self._reference is None:
            return None
        return frozen_logprobs(
            self._reference, seen.sequences, self._spec.temperature, self._setup.spec.micro_batch_tokens
        )
