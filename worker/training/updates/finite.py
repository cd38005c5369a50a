"""NaN and infinity: detected before an update of the weights, and traced to the first layer that computed one."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils.hooks import RemovableHandle


class NotFinite(ArithmeticError):
    """A quantity of a step became NaN or infinite; the weights are still as they were before the update."""

    def __init__(self, metric: str, value: float, layer: str | None) -> None:
        super().__init__(f"{metric} became {value}")
        self.metric, self.value, self.layer = metric, value, layer


@torch.no_grad()
def non_finite_weight(module: Module) -> str | None:
    """The name of the first weight that contains NaN or infinity."""
    return next((name for name, weight in module.named_parameters() if not weight.isfinite().all()), None)


@torch.no_grad()
def non_finite_gradient(module: Module) -> str | None:
    """The name of the last weight whose gradient is not finite: the backward pass starts at the last layer."""
    gradients = [(name, weight.grad) for name, weight in module.named_parameters() if weight.grad is not None]
    return next((name for name, gradient in reversed(gradients) if not gradient.isfinite().all()), None)


class NonFiniteLayer:
    """Records the first layer whose output is not finite, during a `with` block.

    with NonFiniteLayer(model) as first:
        model(inputs)
    print(first.name)
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._handles: list[RemovableHandle] = []
        self.name: str | None = None
        """The name of that layer; None if all outputs are finite."""

    def __enter__(self) -> "NonFiniteLayer":
        for name, layer in self._module.named_modules():
            if name:  # not the module itself: its output comes last
                self._handles.append(layer.register_forward_hook(partial(self._record, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, name: str, _: Module, __: Any, output: Any) -> None:
        # Layers return before the blocks that contain them, so the first one recorded is the innermost.
        if self.name is None and isinstance(output, Tensor) and not output.isfinite().all():
            self.name = name
