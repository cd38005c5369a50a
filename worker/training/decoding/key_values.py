"""Keys and values of the tokens so far, in buffers that a new token writes one column of.

Shapes: B rows.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

MIN_GROWTH = 128  # tokens by which a full buffer grows, at least


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer, in buffers for more tokens: old ones are copied only when a buffer is full."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, limit: int, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = dtype, keys.device, True
        self._limit = limit
        self._adopt(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write the new columns; all keys and values so far."""
        start, end = self._length, self._length + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._adopt(self.keys, self.values)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self._show(end)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Select rows."""
        self._adopt(self.keys[beam_idx], self.values[beam_idx])

    def _adopt(self, keys: Tensor, values: Tensor) -> None:
        """New buffers for half as many tokens again, since few responses need all that they may have."""
        length = keys.shape[-2]
        capacity = min(self._limit, length + max(MIN_GROWTH, length // 2))
        self._buffers = [self._enlarged(states, capacity) for states in (keys, values)]
        self._show(length)

    def _enlarged(self, states: Tensor, capacity: int) -> Tensor:
        rows, heads, length, width = states.shape
        buffer = torch.empty(rows, heads, capacity, width, dtype=self.dtype, device=states.device)
        buffer[:, :, :length] = states
        return buffer

    def _show(self, length: int) -> None:
        self._length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def repeat_rows(cache: DynamicCache, row_B: Tensor, limit: int, dtype: torch.dtype) -> bool:
    """Make the cache of the prompts that of the rows, for up to `limit` tokens; whether all layers are plain ones now.

    Sliding windows, recurrent states and the like keep their own class. Autocast would cast keys and values to `dtype`
    whenever they are read, so they are stored in it.
    """
    layers: list[Any] = cache.layers
    for index, layer in enumerate(layers):
        if type(layer) is DynamicLayer and layer.keys is not None and layer.values is not None:
            layers[index] = PreallocatedLayer(layer.keys[row_B], layer.values[row_B], limit, dtype)
        else:
            layer.reorder_cache(row_B)
    return all(isinstance(layer, PreallocatedLayer) for layer in layers)
