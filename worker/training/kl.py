"""The ratio of two policies, and their divergence from samples (J. Schulman, 'Approximating KL divergence')."""

from torch import Tensor

LOG_RATIO_LIMIT = 20.0


def log_ratio(logp: Tensor, other: Tensor) -> Tensor:
    """log (pi / other), held within +-20: one token that nobody expected must not become an infinity."""
    return (logp - other).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def k3(logp: Tensor, ref: Tensor) -> Tensor:
    """x - log x - 1 with x = ref / pi on samples of pi: never negative, its mean is KL(pi || ref)."""
    log_x = log_ratio(ref, logp)
    return log_x.exp() - log_x - 1
