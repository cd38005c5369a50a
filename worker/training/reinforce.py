"""REINFORCE (Williams 1992): the likelihood of a response, times its reward.

    grad J = mean_i  grad log pi(y_i | q) A_i,      log pi(y_i | q) = sum_t log pi(y_{i,t} | q, y_{i,<t})

A_i is the reward itself by default; `advantage_norm` subtracts a baseline (RLOO: leave_one_out) or divides by a spread.
On-policy: one update for each batch of responses. Shapes: P prompts, G responses each, B rows, T tokens.
"""

from torch import Tensor

from service.domain.algorithms import ReinforceSpec
from worker.training.advantages import normalized
from worker.training.policy_gradient import PolicyGradient
from worker.training.setup import Setup
from worker.training.surrogate import Batch, TokenLosses, ratio, regularized


def advantages(reward_PG: Tensor, spec: ReinforceSpec) -> Tensor:
    """A_i [P, G]."""
    return normalized(reward_PG, spec.advantage_norm)


def token_losses(batch: Batch, advantage_B1: Tensor, spec: ReinforceSpec) -> TokenLosses:
    """- log pi_t A of each token, and the regularisation."""
    logp_BT = batch.predicted.logp_BT
    one_BT = ratio(logp_BT, batch.old_BT, batch.mask_BT, "token")  # in value; a corrected KL needs its gradient
    return regularized(-logp_BT * advantage_B1, one_BT, batch, spec)


def reinforce(setup: Setup, spec: ReinforceSpec) -> PolicyGradient[ReinforceSpec]:
    """Ready for its first step."""
    return PolicyGradient(setup, spec, advantages, token_losses, spec.loss_aggregation)
