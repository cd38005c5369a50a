"""Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300).

    A_i   = (r_i - mean r) / std r                            over one prompt's G responses
    rho_t = pi(y_t) / pi_old(y_t)
    J     = mean_i mean_t [ min(rho_t A_i, clip(rho_t, 1 - eps, 1 + eps) A_i) - beta KL_t(pi || ref) ]

The KL term is k3, its gradient taken as written (which is the forward KL's in expectation; `kl_ratio_correction` gives
the reverse KL's). log rho is held within +-20, and 1e-4 is added to the std. Responses of zero advantage are not run
through the model where they have no gradient; but they count in the mean.
Options: Dr. GRPO (advantage_norm, loss_aggregation), DAPO (clip_eps_high, token_mean, zero_variance, overlong_buffer),
GSPO (importance_level). Shapes: P prompts, G responses each, B rows, T tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from service.domain.algorithms import GRPOSpec
from worker.training.algorithm import algorithm
from worker.training.objectives.advantages import normalized
from worker.training.objectives.aggregate import TokenLosses
from worker.training.objectives.surrogate import Batch, clipped, ratio, regularized
from worker.training.policy_optimization.policy_gradient import PolicyGradient
from worker.training.setup.job import Setup


@dataclass(frozen=True)
class GRPOObjective:
    """A_i and J of each token."""

    spec: GRPOSpec

    def advantages(self, reward_PG: Tensor) -> Tensor:
        """A_i [P, G]."""
        return normalized(reward_PG, self.spec.advantage_norm)

    def token_losses(self, batch: Batch, advantage_B1: Tensor) -> TokenLosses:
        """-J of each token."""
        ratio_BT = ratio(batch.predicted.logp_BT, batch.old_BT, batch.mask_BT, self.spec.importance_level)
        surrogate_BT, stopped_BT = clipped(ratio_BT, advantage_B1, self.spec)
        loss_BT, values = regularized(-surrogate_BT, ratio_BT, batch, self.spec)
        return loss_BT, {**values, "policy/clip_fraction": stopped_BT.float()}


@algorithm("grpo")
def grpo(setup: Setup, spec: GRPOSpec) -> PolicyGradient[GRPOSpec]:
    """Ready for its first step."""
    return PolicyGradient(setup, spec, GRPOObjective(spec), spec.loss_aggregation)
