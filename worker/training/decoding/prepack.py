"""A policy made ready to read one token after another: matrices cast to the compute precision once, not for each token.

On CPUs they are also laid out as oneDNN prefers, which makes products with a few rows up to twice as fast. The
weights themselves stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Linear
from torch.nn.functional import linear

from worker.training.models.head import Head
from worker.training.models.policy import Policy


class Product:
    """x W^T + b with a matrix that does not change meanwhile; no gradient."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._dtype, self._packed = dtype, packs(weight.device, dtype)
        self._weight = weight.detach().to(dtype)
        if self._packed:
            self._weight = _onednn()._reorder_linear_weight(self._weight)
        self._bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """The product, in the precision of the matrix."""
        x = x.to(self._dtype)
        if not self._packed:
            return linear(x, self._weight, self._bias)
        product: Tensor = _onednn()._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return product


class Projection(NamedTuple):
    """A policy's output projection."""

    head: Head
    product: Product

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """What `Head.logits` gives, up to rounding [N, V]."""
        return self.head.finish(self.product(hidden_NH))


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN may choose the layout of matrices on this device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and _onednn()._is_mkldnn_bf16_supported())


@contextmanager
def prepacked(policy: Policy) -> Iterator[Projection]:
    """Within the `with` block the backbone's linear layers multiply with prepared copies; so does the projection."""
    head = policy.head
    layers = [layer for layer in _linear_layers(policy) if _gains(layer, policy.dtype)]
    try:
        for layer in layers:
            vars(layer)["forward"] = Product(layer.weight, layer.bias, policy.dtype)
        yield Projection(head, Product(head.weight_VH, None, head.dtype))
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _linear_layers(policy: Policy) -> list[Linear]:
    """Those of the backbone."""
    head: Any = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    apart = set(head.modules())
    return [layer for layer in policy.model.modules() if type(layer) is Linear and layer not in apart]


def _gains(layer: Linear, dtype: torch.dtype) -> bool:
    return layer.weight.dtype != dtype or packs(layer.weight.device, dtype)


def _onednn() -> Any:
    """The operators that torch's own compiler puts in place of linear layers."""
    return torch.ops.mkldnn
