"""Online policy mirror descent (Kimi k1.5, arXiv:2501.12599, section 2.3.2).

    max E_pi[r] - tau KL(pi || pi_old)   has the solution   r(y) = tau log Z + tau log (pi* / pi_old)(y),   so

    L   = mean_i ( r_i - tau log Z - tau log (pi / pi_old)(y_i) )^2 / (2 tau)
    tau log Z ~ tau log mean_j exp(r_j / tau)          over one prompt's G responses (`soft_mean`); or their `mean`

pi_old is the policy at the start of the step, from which the responses come; log (pi / pi_old) of a response is the sum
over its tokens. Divided by 2 tau, its gradient at pi = pi_old is the policy gradient with r - tau log Z as advantage.
Shapes: P prompts, G responses each, B rows, T tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from service.domain.algorithms import MirrorDescentSpec
from worker.training.algorithm import algorithm
from worker.training.objectives.advantages import group_mean
from worker.training.objectives.aggregate import TokenLosses
from worker.training.objectives.kl import log_ratio
from worker.training.objectives.surrogate import Batch, regularized
from worker.training.policy_optimization.policy_gradient import PolicyGradient
from worker.training.setup.job import Setup


@dataclass(frozen=True)
class MirrorDescentObjective:
    """r_i - tau log Z, and the squared error of each response."""

    spec: MirrorDescentSpec

    def advantages(self, reward_PG: Tensor) -> Tensor:
        """r_i - tau log Z [P, G]; NaN where there is no reward."""
        if self.spec.baseline == "mean":
            return reward_PG - group_mean(reward_PG)
        missing_PG = reward_PG.isnan()
        count_P1 = (~missing_PG).sum(dim=1, keepdim=True)
        exponent_PG = (reward_PG / self.spec.tau).masked_fill(missing_PG, -torch.inf)
        return reward_PG - self.spec.tau * (exponent_PG.logsumexp(dim=1, keepdim=True) - count_P1.log())

    def token_losses(self, batch: Batch, advantage_B1: Tensor) -> TokenLosses:
        """The response's squared error on all its tokens."""
        log_BT = log_ratio(batch.predicted.logp_BT, batch.old_BT) * batch.mask_BT
        error_B1 = advantage_B1 - self.spec.tau * log_BT.sum(dim=1, keepdim=True)
        loss_BT = (error_B1.square() / (2 * self.spec.tau)).expand_as(log_BT)
        return regularized(loss_BT, log_BT.exp(), batch, self.spec)


@algorithm("mirror_descent")
def mirror_descent(setup: Setup, spec: MirrorDescentSpec) -> PolicyGradient[MirrorDescentSpec]:
    """Ready for its first step. The one value of a response is averaged over its tokens, whatever their number."""
    return PolicyGradient(setup, spec, MirrorDescentObjective(spec), "seq_mean", gradient_at_zero=True)
