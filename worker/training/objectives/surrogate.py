"""Terms of the policy losses: ratios, the clip, KL and entropy.

Shapes: B responses, T tokens.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from service.domain.algorithms import ClippedSpec, PolicySpec
from worker.training.models.logprobs import Predicted
from worker.training.objectives.aggregate import TokenLosses
from worker.training.objectives.kl import estimate, k3, log_ratio


class Batch(NamedTuple):
    """The inputs of a loss, for some responses [B, T]."""

    predicted: Predicted
    old_BT: Tensor
    ref_BT: Tensor | None
    mask_BT: Tensor
    beta: float


def ratio(logp_BT: Tensor, old_BT: Tensor, mask_BT: Tensor, level: Literal["token", "sequence"]) -> Tensor:
    """rho_t = pi / pi_old of each token, or on all tokens of a response their geometric mean (GSPO, equation 7)."""
    log_BT = log_ratio(logp_BT, old_BT)
    if level == "sequence":
        length_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        log_BT = ((log_BT * mask_BT).sum(dim=1, keepdim=True) / length_B1).expand_as(log_BT)
    return log_BT.exp()


def clipped(ratio_BT: Tensor, advantage_BT: Tensor, spec: ClippedSpec) -> tuple[Tensor, Tensor]:
    """min(rho A, clip(rho, 1 - eps, 1 + eps_high) A), at least c A where A < 0; and where that stops the gradient."""
    high = spec.clip_eps if spec.clip_eps_high is None else spec.clip_eps_high
    plain_BT = ratio_BT * advantage_BT
    surrogate_BT = torch.minimum(plain_BT, ratio_BT.clamp(1 - spec.clip_eps, 1 + high) * advantage_BT)
    if spec.dual_clip is not None:
        floor_BT = torch.where(advantage_BT < 0, spec.dual_clip * advantage_BT, -torch.inf)
        surrogate_BT = torch.maximum(surrogate_BT, floor_BT)
    return surrogate_BT, surrogate_BT != plain_BT


def regularized(loss_BT: Tensor, ratio_BT: Tensor, batch: Batch, spec: PolicySpec) -> TokenLosses:
    """loss + beta KL - c H, where KL is in the loss, and with the metrics that all share."""
    logp_BT, entropy_BT = batch.predicted
    values = {"policy/kl_old": k3(logp_BT, batch.old_BT), "policy/ratio": ratio_BT, "policy/ratio_max": ratio_BT}
    if batch.ref_BT is not None and (spec.kl_placement == "loss" or spec.beta == 0):
        kl_BT = estimate(spec.kl_estimator, logp_BT, batch.ref_BT)
        values["policy/kl"] = kl_BT
    if batch.ref_BT is not None and spec.kl_placement == "loss" and spec.beta > 0:
        loss_BT = loss_BT + batch.beta * (kl_BT * ratio_BT if spec.kl_ratio_correction else kl_BT)
    if entropy_BT is not None:
        loss_BT = loss_BT - spec.entropy_coef * entropy_BT
    return loss_BT, values
