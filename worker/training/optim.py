"""AdamW, its schedule and its clipping."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from service.domain.specs import OptimizerSpec


def learning_rate(peak: float, spec: OptimizerSpec, step: int, total: int) -> float:
    """The rate of a step (counted from 0): linear growth, then the schedule's fall towards 0 at step `total`."""
    if step < spec.warmup_steps:
        return peak * (step + 1) / (spec.warmup_steps + 1)
    done = (step - spec.warmup_steps) / max(1, total - spec.warmup_steps)
    shapes = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return peak * shapes[spec.schedule]


class Learner:
    """A module and what moves its weights."""

    def __init__(self, module: Module, peak: float, spec: OptimizerSpec, total_steps: int) -> None:
        self.module, self._peak, self._spec, self._total = module, peak, spec, total_steps
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        for weight in self._weights:
            weight.grad = torch.zeros_like(
                weight
            )  # always there, so that a step without any loss is one of zero gradient
        self.optimizer = torch.optim.AdamW(
            _groups(self._weights, spec.weight_decay),
            lr=peak,
            betas=(spec.beta1, spec.beta2),
            eps=spec.epsilon,
            fused=True,
        )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self._peak, self._spec, step, self._total)

    def update(self, step: int) -> Tensor:
        """Move the weights along the gradient, clear it, and return its norm before clipping."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._spec.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._weights, self._spec.max_grad_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        return norm


def _groups(weights: Iterable[Parameter], decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and the scales of norms do not."""
    matrices: list[Parameter] = []
    vectors: list[Parameter] = []
    for weight in weights:
        (matrices if weight.ndim > 1 else vectors).append(weight)
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
