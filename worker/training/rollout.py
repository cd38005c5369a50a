"""Batched decoding with a key-value cache: token ids and their log-probabilities, nothing re-tokenised.

A prompt is read once and its cache repeated for its G responses; finished rows leave the batch. The log-probabilities
are those of the distribution that was sampled (at `temperature`), so they are pi_old's.
Shapes: P prompts, B = P*G rows (live rows only, inside the loop), C new tokens at most, V words, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from worker.training.batching import Tokens
from worker.training.models import Policy
from worker.training.sampling import draw, uniforms

LOOK_EVERY = 8  # tokens between looks at which rows are done: a look makes the host wait for the device


class Sampling(NamedTuple):
    """How responses are drawn; temperature 0 takes the likeliest token."""

    max_tokens: int
    temperature: float = 1.0
    generations: int = 1
    seed: int = 0
    step: int = 0


class Responses(NamedTuple):
    """B = P*G responses; those to one prompt stand together."""

    sequences: list[Tokens]
    logp_BC: Tensor
    entropy: Tensor
    """Mean entropy of the sampling distribution over all tokens (0 when greedy)."""
    truncated: list[bool]
    """Whether the length limit cut the response off."""


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values in buffers of a fixed capacity: a new token writes one column, and nothing old is copied."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._capacity = capacity
        self._adopt(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write the new columns; all keys and values so far."""
        start, end = self._length, self._length + key_states.shape[-2]
        self._buffers[0, :, :, start:end] = key_states
        self._buffers[1, :, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self._adopt(self.keys[indices], self.values[indices])

    def _adopt(self, keys: Tensor, values: Tensor) -> None:
        rows, heads, length, width = keys.shape
        self._buffers = keys.new_empty(2, rows, heads, self._capacity, width)
        self._buffers[0, :, :, :length], self._buffers[1, :, :, :length] = keys, values
        self._show(length)

    def _show(self, length: int) -> None:
        self._length = length
        self.keys, self.values = self._buffers[0, :, :, :length], self._buffers[1, :, :, :length]


@dataclass
class _Live:
    """The rows that still grow."""

    row_B: Tensor
    position_B1: Tensor
    mask_BL: Tensor | None
    """Which cached tokens are real; None when no prompt is padded."""
    cache: DynamicCache
    hidden_BH: Tensor
    done_B: Tensor

    def keep(self, index_B: Tensor) -> None:
        """Let the finished rows go."""
        self.cache.batch_select_indices(index_B)
        self.row_B, self.position_B1 = self.row_B[index_B], self.position_B1[index_B]
        self.hidden_BH, self.done_B = self.hidden_BH[index_B], self.done_B[index_B]
        self.mask_BL = None if self.mask_BL is None else self.mask_BL[index_B]


@torch.no_grad()
def generate(policy: Policy, prompts: Sequence[list[int]], how: Sampling) -> Responses:
    """`how.generations` responses to each prompt."""
    rows, device = len(prompts) * how.generations, policy.device
    token_BC = torch.zeros(rows, how.max_tokens, dtype=torch.long, device=device)
    logp_BC = torch.zeros(rows, how.max_tokens, device=device)
    length_B = torch.full((rows,), how.max_tokens, device=device)
    entropy = torch.zeros((), device=device)
    uniform_BC = uniforms(how.seed, how.step, rows, how.max_tokens, device)
    stops, head = torch.tensor(policy.stops, device=device), policy.head.frozen()
    stopped_B = torch.zeros(rows, dtype=torch.bool, device=device)
    with policy.autocast():
        live = _prefill(policy, prompts, how)
        for t in range(how.max_tokens):
            with torch.autocast(device.type, enabled=False):
                next_B, next_logp_B, entropy_B = _choose(head.logits(live.hidden_BH), uniform_BC[live.row_B, t], how)
            growing_B = ~live.done_B
            token_BC[live.row_B, t] = torch.where(growing_B, next_B, 0)
            logp_BC[live.row_B, t] = torch.where(growing_B, next_logp_B, 0.0)
            entropy += (entropy_B * growing_B).sum()
            ended_B = growing_B & torch.isin(next_B, stops)
            length_B[live.row_B] = torch.where(ended_B, t + 1, length_B[live.row_B])
            live.done_B = live.done_B | ended_B
            stopped_B[live.row_B] = live.done_B
            if t + 1 == how.max_tokens or not _thin_out(live, t):
                break
            _read(policy, live, token_BC[live.row_B, t])
    return _collect(prompts, how, token_BC, logp_BC, length_B, entropy, stopped_B)


def _choose(logits_BV: Tensor, uniform_B: Tensor, how: Sampling) -> tuple[Tensor, Tensor, Tensor]:
    """The next token, its log-probability and the entropy of where it came from, each [B]."""
    if how.temperature == 0:
        best_B = logits_BV.argmax(-1)
        return best_B, torch.zeros_like(uniform_B), torch.zeros_like(uniform_B)
    logp_BV = (logits_BV / how.temperature).log_softmax(-1)
    probability_BV = logp_BV.exp()
    token_B = draw(probability_BV, uniform_B)
    return token_B, logp_BV.gather(1, token_B[:, None])[:, 0], -(probability_BV * logp_BV).sum(-1)


def _thin_out(live: _Live, t: int) -> bool:
    """Every few tokens, drop the finished rows if that is worth a copy of the cache. False: none is left."""
    if t % LOOK_EVERY != LOOK_EVERY - 1:
        return True
    growing = int((~live.done_B).sum())
    if 0 < growing <= 0.8 * len(live.done_B):
        live.keep((~live.done_B).nonzero()[:, 0])
    return growing > 0


def _prefill(policy: Policy, prompts: Sequence[list[int]], how: Sampling) -> _Live:
    """Read each prompt once, padded on the left, and repeat what was learned for its G rows."""
    width, G = max(map(len, prompts)), how.generations
    input_PL = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=policy.device)
    length_P1 = torch.tensor([[len(prompt)] for prompt in prompts], device=policy.device)
    mask_PL = (torch.arange(width, device=policy.device) >= width - length_P1).long()
    padded = any(len(prompt) < width for prompt in prompts)
    state = {"attention_mask": mask_PL, "position_ids": (mask_PL.cumsum(1) - 1).clamp(min=0)} if padded else {}
    cache = DynamicCache(config=policy.model.config)
    hidden_PH = policy.hidden(input_PL, past_key_values=cache, use_cache=True, **state)[:, -1]
    _repeat(cache, G, width + how.max_tokens)
    return _Live(
        row_B=torch.arange(len(prompts) * G, device=policy.device),
        position_B1=length_P1.repeat_interleave(G, dim=0),
        mask_BL=mask_PL.repeat_interleave(G, dim=0) if padded else None,
        cache=cache,
        hidden_BH=hidden_PH.repeat_interleave(G, dim=0),
        done_B=torch.zeros(len(prompts) * G, dtype=torch.bool, device=policy.device),
    )


def _repeat(cache: DynamicCache, times: int, capacity: int) -> None:
    layers: list[Any] = cache.layers
    for index, layer in enumerate(layers):
        layer.batch_repeat_interleave(times)
        if (
            type(layer) is DynamicLayer and layer.keys is not None and layer.values is not None
        ):  # sliding windows and the like keep their own class
            layers[index] = PreallocatedLayer(layer.keys, layer.values, capacity)


def _read(policy: Policy, live: _Live, token_B: Tensor) -> None:
    """Feed the chosen tokens: the hidden states that predict the next ones."""
    state: dict[str, Tensor] = {}
    if live.mask_BL is not None:
        live.mask_BL = torch.cat([live.mask_BL, torch.ones_like(live.mask_BL[:, :1])], dim=1)
        state = {"attention_mask": live.mask_BL, "position_ids": live.position_B1}
    live.hidden_BH = policy.hidden(token_B[:, None], past_key_values=live.cache, use_cache=True, **state)[:, -1]
    live.position_B1 = live.position_B1 + 1


def _collect(
    prompts: Sequence[list[int]],
    how: Sampling,
    token_BC: Tensor,
    logp_BC: Tensor,
    length_B: Tensor,
    entropy: Tensor,
    stopped_B: Tensor,
) -> Responses:
    lengths: list[int] = length_B.tolist()
    tokens: list[list[int]] = token_BC.tolist()
    sequences = [Tokens(prompts[row // how.generations], tokens[row][:length]) for row, length in enumerate(lengths)]
    truncated = [not stopped for stopped in stopped_B.tolist()]
    return Responses(sequences, logp_BC[:, : max(lengths)], entropy / sum(lengths), truncated)
