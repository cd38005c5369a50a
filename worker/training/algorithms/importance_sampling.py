"""The off-policy estimator of the policy gradient: rollouts are used again, weighted by how likely they are now.

    grad J = mean_i  grad ( pi(y_i | q) / pi_old(y_i | q) ) A_i          importance_level: sequence
    grad J = mean_i sum_t  grad rho_{i,t} A_i                            importance_level: token, the factorised form

The ratio of a response is the product of its tokens' ratios; its logarithm is held within +-20, and there is no clip:
without a bound on the steps the variance grows with the length of the responses, which is what PPO's clip is for.
Shapes: P prompts, G responses each, B rows, T tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from service.domain.algorithms import ImportanceSamplingSpec
from worker.training.algorithm import algorithm
from worker.training.objectives.advantages import normalized
from worker.training.objectives.aggregate import TokenLosses
from worker.training.objectives.kl import LOG_RATIO_LIMIT, log_ratio
from worker.training.objectives.surrogate import Batch, regularized
from worker.training.policy_optimization.policy_gradient import PolicyGradient
from worker.training.setup.job import Setup


@dataclass(frozen=True)
class ImportanceSamplingObjective:
    """A_i and rho A of each token."""

    spec: ImportanceSamplingSpec

    def advantages(self, reward_PG: Tensor) -> Tensor:
        """A_i [P, G]."""
        return normalized(reward_PG, self.spec.advantage_norm)

    def token_losses(self, batch: Batch, advantage_B1: Tensor) -> TokenLosses:
        """- rho A: of each token, or the response's one value on all its tokens."""
        log_BT = log_ratio(batch.predicted.logp_BT, batch.old_BT) * batch.mask_BT
        if self.spec.importance_level == "sequence":
            log_B1 = log_BT.sum(dim=1, keepdim=True).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
            log_BT = log_B1.expand_as(log_BT)
        ratio_BT = log_BT.exp()
        loss_BT, values = regularized(-ratio_BT * advantage_B1, ratio_BT, batch, self.spec)
        return loss_BT, values


@algorithm("importance_sampling")
def importance_sampling(setup: Setup, spec: ImportanceSamplingSpec) -> PolicyGradient[ImportanceSamplingSpec]:
    """Ready for its first step. The one value of a response is averaged over its tokens, whatever their number."""
    aggregation = "seq_mean" if spec.importance_level == "sequence" else spec.loss_aggregation
    return PolicyGradient(setup, spec, ImportanceSamplingObjective(spec), aggregation)
