"""The transform between a model's output projection and its logits: read from its config, and checked.

Gemma caps them, Cohere multiplies them by `logit_scale`, Granite divides them by `logits_scaling` and HyperCLOVA X
multiplies by it: so every reading of the config is tried on logits that are large enough to tell them apart.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hone.errors import Invalid
from worker.training.models.head import Head, Transform

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "logits_mup_width_multiplier")
PROBE_LOGIT = 16.0  # largest logit of the probe where nothing is capped


@torch.no_grad()
def find(model: PreTrainedModel, path: str) -> Transform:
    """The transform that turns the projection of the last hidden states into the model's logits; Invalid if none does.

    Invalid too for a model that looks ahead: its input would contain its targets.
    """
    kind = type(model).__name__
    try:
        hidden_BLH, logits_BLV, transforms = _probe(model)
    except (AttributeError, TypeError, NotImplementedError) as error:
        message = f"model '{path}' ({kind}) is not built as a backbone and a linear head: {error}"
        raise Invalid(f"{message}; choose a decoder-only language model", param="model") from error
    if not torch.isfinite(logits_BLV).all():  # reported when they break the loss
        return transforms[0]
    if not _close(*hidden_BLH[:, 0]):
        message = f"model '{path}' ({kind}) looks ahead: its logits of a token depend on later ones"
        raise Invalid(f"{message}; choose a decoder-only language model", param="model")
    for transform in transforms:
        if _close(_head(model)._replace(transform=transform).logits(hidden_BLH), logits_BLV):
            return transform
    message = f"model '{path}' ({kind}) does more to its logits than project, scale and cap them"
    raise Invalid(f"{message}, which is not supported; choose another model", param="model")


def _probe(model: PreTrainedModel) -> tuple[Tensor, Tensor, list[Transform]]:
    """Last hidden states, enlarged [B, L, H], the model's logits of them [B, L, V], and what may link them.

    Both rows begin alike.
    """
    transforms = list(_declared(model.config.get_text_config()))
    input_BL = torch.tensor([[1, 0], [1, 1]], device=model.device)
    hidden_BLH = model.base_model(input_ids=input_BL).last_hidden_state
    largest = _head(model).logits(hidden_BLH).abs().max()
    gain = torch.where(largest > 0, (transforms[0].cap or PROBE_LOGIT) / largest, 1.0)

    def enlarge(_: Any, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0] * gain

    handle = model.get_output_embeddings().register_forward_pre_hook(enlarge)  # type: ignore[no-untyped-call]
    try:
        logits_BLV = model(input_ids=input_BL).logits
    finally:
        handle.remove()
    return hidden_BLH * gain, logits_BLV.float(), transforms


def _declared(config: Any) -> Iterator[Transform]:
    """The possible readings of the config, the likeliest first."""
    caps = [cap for name in CAPS if (cap := getattr(config, name, None))]
    scales = [value for name in SCALES if isinstance(value := getattr(config, name, None), int | float) and value]
    for cap in [*caps, None]:
        for scale in [*scales, *(1 / scale for scale in scales), 1.0]:
            yield Transform(float(scale), cap)


def _head(model: PreTrainedModel) -> Head:
    layer: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return Head(layer.weight, getattr(layer, "bias", None), torch.float32)


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-3, atol=1e-3)
