"""Online policy mirror descent (Kimi k1.5, arXiv:2501.12599, section 2.3.2).

    max E_pi[r] - tau KL(pi || pi_old)   has the solution   r(y) = tau log Z + tau log (pi* / pi_old)(y),   so

    L   = mean_i ( r_i - tau log Z - tau log (pi / pi_old)(y_i) )^2 / (2 tau)
    tau log Z ~ tau log mean_j exp(r_j / tau)          over one prompt's G responses (`soft_mean`); or their `mean`

pi_old is the policy at the start of the step, from which the responses come; log (pi / pi_old) of a response is the sum
over its tokens. Divided by 2 tau, its gradient at pi = pi_old is the policy gradient with r - tau log Z as advantage.
Shapes: P prompts, G responses each, B rows, T tokens.
"""

import math

from torch import Tensor

from service.domain.algorithms import MirrorDescentSpec
from worker.training.kl import log_ratio
from worker.training.policy_gradient import PolicyGradient
from worker.training.setup import Setup
from worker.training.surrogate import Batch, TokenLosses, regularized


def advantages(reward_PG: Tensor, spec: MirrorDescentSpec) -> Tensor:
    """r_i - tau log Z [P, G]."""
    if spec.baseline == "mean":
        return reward_PG - reward_PG.mean(dim=1, keepdim=True)
    log_mean_P1 = (reward_PG / spec.tau).logsumexp(dim=1, keepdim=True) - math.log(reward_PG.shape[1])
    return reward_PG - spec.tau * log_mean_P1


def token_losses(batch: Batch, advantage_B1: Tensor, spec: MirrorDescentSpec) -> TokenLosses:
    """The response's squared error on all its tokens."""
    log_BT = log_ratio(batch.predicted.logp_BT, batch.old_BT) * batch.mask_BT
    error_B1 = advantage_B1 - spec.tau * log_BT.sum(dim=1, keepdim=True)
    loss_BT = (error_B1.square() / (2 * spec.tau)).expand_as(log_BT)
    return regularized(loss_BT, log_BT.exp(), batch, spec)


def mirror_descent(setup: Setup, spec: MirrorDescentSpec) -> PolicyGradient[MirrorDescentSpec]:
    """Ready for its first step. The one value of a response is averaged over its tokens, whatever their number."""
    return PolicyGradient(setup, spec, advantages, token_losses, "seq_mean", silent_at_zero=False)
