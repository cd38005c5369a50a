"""What moves the weights along their gradient, how fast, and its clipping.

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

from service.domain.errors import Invalid
from service.domain.specs import OptimizerSpec
from worker.training.schedule import learning_rate


class Learner:
    """A module and what moves those of its weights that are to be trained."""

    def __init__(
        self, module: Module, peak: float, spec: OptimizerSpec, total_steps: int, metrics: str = "train"
    ) -> None:
        self.module, self._peak, self._spec, self._total, self._metrics = module, peak, spec, total_steps, metrics
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        for weight in self._weights:  # always there, so that a step without any loss is one of zero gradient
            weight.grad = torch.zeros_like(weight)
        self.optimizers = _optimizers(module, self._weights, peak, spec)

    def metric(self, name: str) -> str:
        """The full name of one of its metrics: `train/loss`, `critic/loss`."""
        return f"{self._metrics}/{name}"

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self._peak, self._spec, step, self._total)

    def clear(self) -> None:
        """Forget the gradient."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=False)

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
        """What the optimizers remember of earlier steps."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Put back what `state` gave."""
        for optimizer, remembered in zip(self.optimizers, state, strict=True):
            optimizer.load_state_dict(remembered)


def _optimizers(module: Module, weights: list[Parameter], peak: float, spec: OptimizerSpec) -> list[Optimizer]:
    match spec.type:
        case "adamw":
            return [_adamw(weights, peak, spec)]
        case "adamw_8bit":
            return [_adamw_8bit(weights, peak, spec)]
        case "muon":
            hidden = _hidden_matrices(module)
            inner, outer = [w for w in weights if w in hidden], [w for w in weights if w not in hidden]
            return [*([_muon(inner, peak, spec)] if inner else []), *([_adamw(outer, peak, spec)] if outer else [])]


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
    built: Optimizer = AdamW8bit(groups, lr=peak, betas=(spec.beta1, spec.beta2), eps=spec.epsilon)
    return built


def _muon(matrices: list[Parameter], peak: float, spec: OptimizerSpec) -> Optimizer:
    return torch.optim.Muon(
        matrices, lr=peak, momentum=spec.beta1, weight_decay=spec.weight_decay, adjust_lr_fn="match_rms_adamw"
    )


def _hidden_matrices(module: Module) -> set[Parameter]:
    """What maps vectors to vectors; tables of words and positions, the head and a single row do something else."""
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
