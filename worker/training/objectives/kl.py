"""The ratio of two policies, and their divergence from samples (J. Schulman, 'Approximating KL divergence')."""

from torch import Tensor

from service.domain.algorithms import KLEstimator

LOG_RATIO_LIMIT = 20.0


def log_ratio(logp: Tensor, other: Tensor) -> Tensor:
    """log (pi / other), held within +-20: one token of very low probability must not make an infinity."""
    return (logp - other).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def k1(logp: Tensor, ref: Tensor) -> Tensor:
    """log pi - log ref on samples of pi: its mean is KL(pi || ref), single values may be negative."""
    return log_ratio(logp, ref)


def k2(logp: Tensor, ref: Tensor) -> Tensor:
    """(log pi - log ref)^2 / 2: biased, never negative; its gradient is the reverse KL's in expectation."""
    return log_ratio(logp, ref).square() / 2


def k3(logp: Tensor, ref: Tensor) -> Tensor:
    """x - log x - 1 with x = ref / pi on samples of pi: never negative, its mean is KL(pi || ref)."""
    log_x = log_ratio(ref, logp)
    return log_x.exp() - log_x - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def estimate(name: KLEstimator, logp: Tensor, ref: Tensor) -> Tensor:
    """The estimator of that name."""
    return ESTIMATORS[name](logp, ref)


class KLController:
    """The coefficient of the KL: fixed, or steered to a target (Ziegler et al. 2019, arXiv:1909.08593, section 2.2).

    beta <- beta (1 + n / horizon * clip(KL / target - 1, -0.2, 0.2)) after each step of n responses, KL in nats per
    response.
    """

    def __init__(self, beta: float, target: float | None, horizon: float) -> None:
        self.beta, self._target, self._horizon = beta, target, horizon

    def observe(self, kl: float, responses: int) -> None:
        """Adapt beta to the mean KL of a step's responses."""
        if self._target is not None:
            error = min(0.2, max(-0.2, kl / self._target - 1))
            self.beta *= 1 + error * responses / self._horizon
