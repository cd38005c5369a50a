"""REINFORCE (Williams 1992): the likelihood of a response, times its reward.

    grad J = mean_i  grad log pi(y_i | q) A_i,      log pi(y_i | q) = sum_t log pi(y_{i,t} | q, y_{i,<t})

A_i is the reward itself by default; `advantage_norm` subtracts a baseline (RLOO: leave_one_out) or divides by a spread.
On-policy: one update for each batch of responses. Shapes: P prompts, G responses each, B rows, T tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from service.domain.algorithms import ReinforceSpec
from worker.training.algorithm import algorithm
from worker.training.objectives.advantages import normalized
from worker.training.objectives.aggregate import TokenLosses
from worker.training.objectives.surrogate import Batch, ratio, regularized
from worker.training.policy_optimization.policy_gradient import PolicyGradient
from worker.training.setup.job import Setup


@dataclass(frozen=True)
class ReinforceObjective:
    """A_i and log pi A of each token."""

    spec: ReinforceSpec

    def advantages(self, reward_PG: Tensor) -> Tensor:
        """A_i [P, G]."""
        return normalized(reward_PG, self.spec.advantage_norm)

    def token_losses(self, batch: Batch, advantage_B1: Tensor) -> TokenLosses:
        """- log pi_t A of each token, and the regularisation."""
        logp_BT = batch.predicted.logp_BT
        ratio_BT = ratio(logp_BT, batch.old_BT, batch.mask_BT, "token")  # 1 in value; a corrected KL needs its gradient
        return regularized(-logp_BT * advantage_B1, ratio_BT, batch, self.spec)


@algorithm("reinforce")
def reinforce(setup: Setup, spec: ReinforceSpec) -> PolicyGradient[ReinforceSpec]:
    """Ready for its first step."""
    return PolicyGradient(setup, spec, ReinforceObjective(spec), spec.loss_aggregation)
