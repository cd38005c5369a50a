"""The off-policy estimator of the policy gradient: rollouts are used again, weighted by how likely they are now.

    grad J = mean_i  grad ( pi(y_i | q) / pi_old(y_i | q) ) A_i          importance_level: sequence
    grad J = mean_i sum_t  grad rho_{i,t} A_i                            importance_level: token, the factorised form

The ratio of a response is the product of its tokens' ratios; its logarithm is held within +-20, and there is no clip:
without a bound on the steps the variance grows with the length of the responses, which is what PPO's clip is for.
Shapes: P prompts, G responses each, B rows, T tokens.
"""

from torch import Tensor

from service.domain.algorithms import ImportanceSamplingSpec
from worker.training.advantages import normalized
from worker.training.kl import LOG_RATIO_LIMIT, log_ratio
from worker.training.policy_gradient import PolicyGradient
from worker.training.setup import Setup
from worker.training.surrogate import Batch, TokenLosses, regularized


def advantages(reward_PG: Tensor, spec: ImportanceSamplingSpec) -> Tensor:
    """A_i [P, G]."""
    return normalized(reward_PG, spec.advantage_norm)


def token_losses(batch: Batch, advantage_B1: Tensor, spec: ImportanceSamplingSpec) -> TokenLosses:
    """- rho A: of each token, or the response's one value on all its tokens."""
    log_BT = log_ratio(batch.predicted.logp_BT, batch.old_BT) * batch.mask_BT
    if spec.importance_level == "sequence":
        log_B1 = log_BT.sum(dim=1, keepdim=True).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        log_BT = log_B1.expand_as(log_BT)
    ratio_BT = log_BT.exp()
    loss_BT, values = regularized(-ratio_BT * advantage_B1, ratio_BT, batch, spec)
    return loss_BT, {**values, "policy/ratio": ratio_BT}


def importance_sampling(setup: Setup, spec: ImportanceSamplingSpec) -> PolicyGradient[ImportanceSamplingSpec]:
    """Ready for its first step. The one value of a response is averaged over its tokens, whatever their number."""
    aggregation = "seq_mean" if spec.importance_level == "sequence" else spec.loss_aggregation
    return PolicyGradient(setup, spec, advantages, token_losses, aggregation)
