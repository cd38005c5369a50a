"""Numbers that are none: found before they reach the weights, and traced to the layer where they began."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module


class NotFinite(ArithmeticError):
    """A quantity of a step became NaN or infinite; the weights are still as they were before its update."""

    def __init__(self, metric: str, value: float, layer: str | None) -> None:
        super().__init__(f"{metric} became {value}")
        self.metric, self.value, self.layer = metric, value, layer


@torch.no_grad()
def broken_weight(module: Module) -> str | None:
    """The first weight that is not finite."""
    return next((name for name, weight in module.named_parameters() if not weight.isfinite().all()), None)


@torch.no_grad()
def broken_gradient(module: Module) -> str | None:
    """The last weight, in the order of the layers, whose gradient is not finite: a backward pass starts there."""
    gradients = [(name, weight.grad) for name, weight in module.named_parameters() if weight.grad is not None]
    return next((name for name, gradient in reversed(gradients) if not gradient.isfinite().all()), None)


@torch.no_grad()
def broken_layer(module: Module, forward: Callable[[], object]) -> str | None:
    """The first layer whose output is not finite while `forward` runs."""
    found: list[str] = []

    def look(name: str) -> Callable[[Module, Any, Any], None]:
        def hook(_: Module, __: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    handles = [layer.register_forward_hook(look(name)) for name, layer in module.named_modules() if name]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
