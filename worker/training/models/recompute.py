"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): layers store their inputs, and compute the rest twice.

transformers has it too, but only in training mode, which brings dropout, and it takes the cache from a layer that has
one. Here it depends on whether there will be a gradient at all, so sampling is left alone and no mode is changed.
"""

from functools import cache, partial
from typing import Any

import torch
from torch.nn import Module
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from hone.errors import Invalid


def recompute(model: Module) -> None:
    """Make every layer drop its activations until the backward pass; Invalid if the model has no such layers."""
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        message = f"gradient_checkpointing is not supported for {type(model).__name__}; set it to false"
        raise Invalid(message, param="gradient_checkpointing")
    for layer in layers:
        kind: Any = type(layer)
        layer.__class__ = _recomputing(kind)


@cache
def _recomputing(kind: Any) -> Any:
    """The same layer, computed again in the backward pass; a class of its own, so that copies of a layer stay apart."""

    def forward(self: Module, *args: Any, **kwargs: Any) -> Any:
        once = partial(kind.forward, self)
        if not torch.is_grad_enabled():
            return once(*args, **kwargs)
        # Without dropout nothing is random, and reading the random state would make the host wait for the device.
        return checkpoint(once, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return type(kind.__name__, (kind,), {"forward": forward})
