"""Which models can read packed sequences: each model is tried once."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from worker.training.models.logprobs import hidden_at
from worker.training.models.policy import Policy
from worker.training.sequences import attention
from worker.training.sequences.batching import Inputs, MicroBatch, Tokens

TOLERANCE = 1e-4
"""Largest difference of hidden states, relative to their largest element; rounding makes about 1e-6."""


def enable_if_supported(policy: Policy) -> Policy:
    """The same policy, with packing if its model gives packed sequences the same hidden states as padded ones.

    A model with sliding windows, soft caps, sinks, position biases or state-space layers does not.
    """
    model: Any = policy.model
    config = model.config.get_text_config()
    if (
        config._attn_implementation == attention.PLAIN
        and model._supports_attention_backend
        and _has_full_attention(config)
    ):
        attention.install(model)
        policy.packing = _agrees(policy)
        if not policy.packing:
            attention.remove(model)
    return policy


def _has_full_attention(config: PreTrainedConfig) -> bool:
    """Whether every layer attends to all that came before; a short trial would not notice a wide window."""
    if kinds := getattr(config, "layer_types", None):
        return all(kind == "full_attention" for kind in kinds)
    return not any(getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))


@torch.no_grad()
def _agrees(policy: Policy) -> bool:
    batch = MicroBatch(_trial(policy), policy.device)
    present_BT = batch.mask_BT.bool()

    def hidden(inputs: Inputs) -> Tensor:
        return hidden_at(
            policy.hidden(inputs.input_BL, use_cache=False, **inputs.state), inputs.position_BT, present_BT
        )

    try:
        padded_NH, packed_NH = hidden(batch.padded), hidden(batch.packed)
    except (TypeError, ValueError, RuntimeError):  # it does not take these arguments, or needs other attention
        return False
    return bool((packed_NH - padded_NH).abs().max() <= TOLERANCE * padded_NH.abs().max())


def _trial(policy: Policy) -> list[Tokens]:
    """A prompt with several completions, and two with one each."""
    vocabulary = policy.head.weight_VH.shape[0]
    ids = [(7 * place + 1) % vocabulary for place in range(40)]
    shared = [Tokens(ids[:6], ids[start : start + length]) for start, length in ((6, 4), (10, 1), (11, 7))]
    return [*shared, Tokens(ids[18:20], ids[20:23]), Tokens(ids[23:24], ids[24:34])]
