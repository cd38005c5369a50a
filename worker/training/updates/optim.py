"""Optimizers of a module, with its learning rate and the clipping of its gradient.

AdamW (arXiv:1711.05101), the same with its moments in 8 bits (arXiv:2110.02861), or Muon (arXiv:2502.16982) for the
matrices between embedding and head with AdamW for the rest. Muon's update is scaled to the size of AdamW's, so that
the same learning rates serve.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Module, Parameter
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hone.errors import Invalid
from service.domain.specs import OptimizerSpec
from worker.training.updates.schedule import learning_rate
from worker.training.world import World


class Learner:
    """A module with the optimizers of its trained weights."""

    def __init__(
        self,
        module: Module,
        peak: float,
        spec: OptimizerSpec,
        total_steps: int,
        metrics: str = "train",
        first_step: int = 0,
    ) -> None:
        """`first_step`: the step, counted from 0, with which its training and so its learning rate begin."""
        self.module, self._peak, self._spec, self._metrics = module, peak, spec, metrics
        self._total, self.first_step = total_steps, first_step
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        for weight in self._weights:  # never None, so that a step without any loss has a gradient of 0
            weight.grad = torch.zeros_like(weight)
        self.optimizers = _optimizers(module, self._weights, peak, spec)

    def metric(self, name: str) -> str:
        """The full name of one of its metrics: `train/loss`, `critic/loss`."""
        return f"{self._metrics}/{name}"

    def rate(self, step: int) -> float:
        """The learning rate of a step of the job, counted from 0; 0 before the training begins."""
        if step < self.first_step:
            return 0.0
        return learning_rate(self._peak, self._spec, step - self.first_step, self._total - self.first_step)

    def clear(self) -> None:
        """Set the gradient to 0."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=False)

    def sum_gradients(self, world: World) -> None:
        """Sum the gradient over the ranks."""
        for weight in self._weights:
            if weight.grad is not None:
                weight.grad = world.sum(weight.grad)

    def norm(self) -> Tensor:
        """The norm of the gradient."""
        return torch.nn.utils.get_total_norm([weight.grad for weight in self._weights if weight.grad is not None])

    def move(self, step: int, norm: Tensor) -> None:
        """Move the weights along the gradient, whose norm is given, and clear it."""
        if self._spec.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._weights, self._spec.max_grad_norm, norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate(step)
            optimizer.step()
        self.clear()

    def state(self) -> list[dict[str, Any]]:
        """The state of the optimizers, for a checkpoint."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Put back what `state` gave."""
        for optimizer, own_state in zip(self.optimizers, state, strict=True):
            optimizer.load_state_dict(own_state)


def _optimizers(module: Module, weights: list[Parameter], peak: float, spec: OptimizerSpec) -> list[Optimizer]:
    match spec.type:
        case "adamw":
            return [_adamw(weights, peak, spec)]
        case "adamw_8bit":
            return [_adamw_8bit(weights, peak, spec)]
        case "muon":
            hidden = _hidden_matrices(module)
            matrices = [weight for weight in weights if weight in hidden]
            others = [weight for weight in weights if weight not in hidden]
            muon = [_muon(matrices, peak, spec)] if matrices else []
            return muon + ([_adamw(others, peak, spec)] if others else [])


def _adamw(weights: list[Parameter], peak: float, spec: OptimizerSpec) -> Optimizer:
    groups = _groups(weights, spec.weight_decay)
    return torch.optim.AdamW(groups, lr=peak, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, fused=True)


def _adamw_8bit(weights: list[Parameter], peak: float, spec: OptimizerSpec) -> Optimizer:
    if any(weight.device.type != "cuda" for weight in weights):
        raise Invalid(
            "optimizer.type adamw_8bit needs a GPU; set resources.gpus to 1, or choose adamw", param="optimizer.type"
        )
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise Invalid(
            "optimizer.type adamw_8bit needs bitsandbytes, which this worker does not have; "
            "install hone[eightbit] there, or choose adamw",
            param="optimizer.type",
        ) from error
    groups = _groups(weights, spec.weight_decay)
    optimizer: Optimizer = AdamW8bit(groups, lr=peak, betas=(spec.beta1, spec.beta2), eps=spec.epsilon)
    return optimizer


def _muon(matrices: list[Parameter], peak: float, spec: OptimizerSpec) -> Optimizer:
    return torch.optim.Muon(
        matrices, lr=peak, momentum=spec.beta1, weight_decay=spec.weight_decay, adjust_lr_fn="match_rms_adamw"
    )


def _hidden_matrices(module: Module) -> set[Parameter]:
    """Matrices that map hidden vectors to hidden vectors: no embeddings, no output projection, no single rows."""
    tables = [layer.weight for layer in module.modules() if isinstance(layer, nn.Embedding)]
    if isinstance(module, PreTrainedModel) and (head := module.get_output_embeddings()):  # type: ignore[no-untyped-call]
        tables.append(head.weight)
    return {w for w in module.parameters() if w.ndim == 2 and min(w.shape) > 1} - set(tables)


def _groups(weights: Iterable[Parameter], decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and the scales of norms do not."""
    matrices: list[Parameter] = []
    vectors: list[Parameter] = []
    for weight in weights:
        (matrices if weight.ndim > 1 else vectors).append(weight)
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
