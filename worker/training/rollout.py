"""Batched decoding with a key-value cache: token ids and their log-probabilities, nothing re-tokenised.

A prompt is read once and its cache repeated for its G responses; finished rows leave the batch. The log-probabilities
are those of the distribution that was sampled (at `temperature`), so they are pi_old's.
Shapes: P prompts, B = P*G rows (live rows only, inside the loop), C new tokens at most, S tokens so far, V words,
H hidden units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from worker.training.attention import PACKED, PLAIN
from worker.training.batching import Tokens
from worker.training.head import TILE_ELEMENTS
from worker.training.key_values import spread
from worker.training.models import Policy
from worker.training.prepack import Projection, prepacked
from worker.training.sampling import Drawn, choose, keys, row_keys, uniforms
from worker.training.text_stop import NEVER, TextStop

LOOK_EVERY = 8  # tokens between looks at which rows are done: a look makes the host wait for the device
WORTH_A_COPY = 0.8  # share of growing rows below which the others' keys and values are dropped


class Numbered(NamedTuple):
    """A response that is no neighbour of the others in the batch: a further turn of one that called a tool."""

    number: int
    """By which it gets its random numbers."""
    max_tokens: int


class Sampling(NamedTuple):
    """How responses are drawn; temperature 0 takes the likeliest token."""

    max_tokens: int
    temperature: float = 1.0
    generations: int = 1
    seed: int = 0
    step: int = 0
    first_row: int = 0
    """The number of the first response: further ones of a step are drawn with other random numbers."""
    top_k: int = 0
    """Only from so many likeliest tokens; 0: from all. For evaluation: training takes ratios under all."""
    top_p: float = 1.0
    """Only from the likeliest tokens that have this probability together."""
    stop: str | None = None
    """A text that ends a response too, with the first token by which it is there."""
    rows: tuple[Numbered, ...] = ()
    """One for each prompt, which then has one response: instead of `first_row` and, within it, `max_tokens`."""


class ToolUse(NamedTuple):
    """What a response did with tools."""

    calls: int
    errors: int
    """Calls that failed."""
    turns: list[str]
    """What the policy said, without what the tools answered."""


class Responses(NamedTuple):
    """B = P*G responses; those to one prompt stand together."""

    sequences: list[Tokens]
    logp_BC: Tensor
    entropy: Tensor
    """Mean entropy of the sampling distribution over all tokens (0 when greedy)."""
    truncated: list[bool]
    """Whether a limit cut the response off."""
    tool_use: list[ToolUse] | None = None
    """None where there are no tools."""


@torch.no_grad()
def generate(policy: Policy, prompts: Sequence[list[int]], how: Sampling, batch_size: int | None = None) -> Responses:
    """`how.generations` responses to each prompt, at most `batch_size` at a time.

    The size changes no token, except where a device rounds differently for fewer rows: all prompts are padded alike.
    """
    most, width = batch_size or len(prompts) * how.generations, max(map(len, prompts))
    with policy.autocast(), prepacked(policy) as projection:
        parts = [_decode(policy, projection, part, width, rows) for part, rows in _parts(prompts, how, most)]
    return _joined(parts)


def _parts(prompts: Sequence[list[int]], how: Sampling, most: int) -> Iterator[tuple[Sequence[list[int]], Sampling]]:
    """Whole groups where they fit, else parts of one; each with the numbers that its rows have in the whole."""
    size, G = max(1, most // how.generations), how.generations
    for start in range(0, len(prompts), size):
        for done in range(0, G, min(most, G)):
            first_row, rows = how.first_row + start * G + done, how.rows[start : start + size]
            part = how._replace(generations=min(most, G - done), first_row=first_row, rows=rows)
            yield prompts[start : start + size], part


def _joined(parts: list[Responses]) -> Responses:
    if len(parts) == 1:
        return parts[0]
    sequences = [sequence for part in parts for sequence in part.sequences]
    logp_BC = torch.zeros(len(sequences), max(part.logp_BC.shape[1] for part in parts), device=parts[0].logp_BC.device)
    row, tokens = 0, [sum(len(sequence.completion) for sequence in part.sequences) for part in parts]
    for part in parts:
        rows, width = part.logp_BC.shape
        logp_BC[row : row + rows, :width] = part.logp_BC
        row += rows
    entropy = sum(part.entropy * count for part, count in zip(parts, tokens, strict=True)) / sum(tokens)
    return Responses(sequences, logp_BC, torch.as_tensor(entropy), [cut for part in parts for cut in part.truncated])


@dataclass
class _Live:
    """The rows that still grow."""

    row_B: Tensor
    key_B: Tensor
    """Of their random numbers."""
    done_B: Tensor
    """Which ones have stopped, and wait to leave."""
    position_B1: Tensor
    """Where the next token stands."""
    mask: Tensor | None
    """1 where a token is real [B, S]; or, for plain attention, what is added to the scores of all tokens that there
    will be [B or 1, 1, 1, S]; None where no prompt is padded."""
    cache: DynamicCache
    hidden_BH: Tensor

    def keep(self, index_B: Tensor) -> None:
        """Let the finished rows go."""
        self.cache.reorder_cache(index_B)  # type: ignore[arg-type]  # declared as LongTensor
        self.row_B, self.key_B, self.done_B = self.row_B[index_B], self.key_B[index_B], self.done_B[index_B]
        self.position_B1, self.hidden_BH = self.position_B1[index_B], self.hidden_BH[index_B]
        if self.mask is not None and len(self.mask) > 1:
            self.mask = self.mask[index_B]


def _decode(
    policy: Policy, projection: Projection, prompts: Sequence[list[int]], width: int, how: Sampling
) -> Responses:
    rows, device = len(prompts) * how.generations, policy.device
    token_BC = torch.zeros(rows, how.max_tokens, dtype=torch.long, device=device)
    logp_BC = torch.zeros(rows, how.max_tokens, device=device)
    entropy_BC = torch.zeros_like(logp_BC)
    live, stops = _prefill(policy, prompts, width, how), torch.tensor(policy.stops, device=device)
    text = TextStop(policy.tokenizer, how.stop, rows) if how.stop else None
    limit_B = torch.tensor([row.max_tokens for row in how.rows] or [how.max_tokens] * rows, device=device)
    for t in range(how.max_tokens):
        if t % LOOK_EVERY == 0:
            live.done_B |= torch.isin(token_BC[live.row_B, max(0, t - LOOK_EVERY) : t], stops).any(1)
            if how.rows:
                live.done_B |= limit_B[live.row_B] <= t
            if text:
                live.done_B |= text.look(token_BC, live.row_B, t, LOOK_EVERY)
            if not _thin_out(live):
                break
            uniform_BC = uniforms(live.key_B, range(t, t + LOOK_EVERY))
        token_B, logp_B, entropy_B = _choose(projection, live.hidden_BH, uniform_BC[:, t % LOOK_EVERY], how)
        token_BC[live.row_B, t], logp_BC[live.row_B, t], entropy_BC[live.row_B, t] = token_B, logp_B, entropy_B
        if t + 1 < how.max_tokens:
            _read(policy, live, token_B)
    end_B = _first_stop(torch.isin(token_BC, stops))
    if text:
        text.look(token_BC, live.row_B, how.max_tokens, LOOK_EVERY)
        end_B = torch.minimum(end_B, torch.tensor(text.end, device=device))
    return _collect(prompts, how, end_B, limit_B, token_BC, logp_BC, entropy_BC)


def _choose(projection: Projection, hidden_BH: Tensor, uniform_B: Tensor, how: Sampling) -> Drawn:
    """The next tokens, of so many rows at a time that not too many logits are held."""
    size = max(1, TILE_ELEMENTS // len(projection.head.weight_VH))
    with torch.autocast(hidden_BH.device.type, enabled=False):
        parts = [
            choose(projection.logits(hidden), uniform, how.temperature, how.top_k, how.top_p)
            for hidden, uniform in zip(torch.split(hidden_BH, size), torch.split(uniform_B, size), strict=True)
        ]
    return parts[0] if len(parts) == 1 else Drawn(*map(torch.cat, zip(*parts, strict=True)))


def _thin_out(live: _Live) -> bool:
    """Drop the finished rows if that is worth a copy of the cache. False: none is left."""
    growing = int((~live.done_B).sum())
    if 0 < growing <= WORTH_A_COPY * len(live.done_B):
        live.keep((~live.done_B).nonzero()[:, 0])
    return growing > 0


def _prefill(policy: Policy, prompts: Sequence[list[int]], width: int, how: Sampling) -> _Live:
    """Read each prompt once, padded on the left to `width`, and repeat what was learned for its G rows."""
    G, device = how.generations, policy.device
    assert not how.rows or G == 1
    input_PL = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    length_P1 = torch.tensor([[len(prompt)] for prompt in prompts], device=device)
    real_PL = (torch.arange(width, device=device) >= width - length_P1).long()
    padded = any(len(prompt) < width for prompt in prompts)
    state = {"attention_mask": real_PL, "position_ids": (real_PL.cumsum(1) - 1).clamp(min=0)} if padded else {}
    cache = DynamicCache(config=policy.model.config)
    hidden_PH = policy.hidden(input_PL, past_key_values=cache, use_cache=True, **state)[:, -1]
    limit, prompt_B = width + how.max_tokens, torch.arange(len(prompts), device=device).repeat_interleave(G)
    plain = spread(cache, prompt_B, limit, policy.dtype) and _adds_masks(policy)
    mask = real_PL[prompt_B] if padded else None
    return _Live(
        row_B=torch.arange(len(prompt_B), device=device),
        key_B=_keys(how, len(prompt_B), device),
        done_B=torch.zeros_like(prompt_B, dtype=torch.bool),
        position_B1=length_P1[prompt_B],
        mask=_additive(mask, limit, policy) if plain else mask,
        cache=cache,
        hidden_BH=hidden_PH[prompt_B],
    )


def _keys(how: Sampling, rows: int, device: torch.device) -> Tensor:
    if not how.rows:
        return row_keys(how.seed, how.step, how.first_row, rows, device)
    return keys(how.seed, how.step, torch.tensor([row.number for row in how.rows], device=device))


def _adds_masks(policy: Policy) -> bool:
    """Whether the model adds a mask of four axes to its scores as it is, and takes nothing else from it."""
    config = policy.model.config.get_text_config()
    rotary = getattr(config, "rope_parameters", None) is not None and not getattr(config, "alibi", False)
    return rotary and config._attn_implementation in (PLAIN, PACKED)


def _additive(real_BL: Tensor | None, limit: int, policy: Policy) -> Tensor | None:
    """The mask for all tokens to come, made once. On CPUs also without padding: there torch is slow at grouped queries
    without a mask.
    """
    if real_BL is None and policy.device.type != "cpu":
        return None
    real_BL = torch.ones(1, 1, device=policy.device) if real_BL is None else real_BL
    mask = torch.zeros(len(real_BL), 1, 1, limit, dtype=policy.dtype, device=policy.device)
    mask[:, 0, 0, : real_BL.shape[1]].masked_fill_(real_BL == 0, -torch.inf)
    return mask


def _read(policy: Policy, live: _Live, token_B: Tensor) -> None:
    """Feed the chosen tokens: the hidden states that predict the next ones."""
    state: dict[str, Tensor] = {}
    if live.mask is not None:
        if live.mask.ndim == 2:
            live.mask = torch.cat([live.mask, torch.ones_like(live.mask[:, :1])], dim=1)
        mask = live.mask if live.mask.ndim == 2 else live.mask[..., : live.cache.get_seq_length() + 1]
        state = {"attention_mask": mask, "position_ids": live.position_B1}
    live.hidden_BH = policy.hidden(token_B[:, None], past_key_values=live.cache, use_cache=True, **state)[:, -1]
    live.position_B1 = live.position_B1 + 1


def _first_stop(stop_BC: Tensor) -> Tensor:
    """How long a response is that ends with its first stop [B]; NEVER if it has none."""
    return torch.where(stop_BC.any(1), stop_BC.int().argmax(1) + 1, NEVER)


def _collect(
    prompts: Sequence[list[int]],
    how: Sampling,
    end_B: Tensor,
    limit_B: Tensor,
    token_BC: Tensor,
    logp_BC: Tensor,
    entropy_BC: Tensor,
) -> Responses:
    """Cut each row where it ends, or at its limit."""
    length_B = torch.minimum(end_B, limit_B)
    mask_BC = torch.arange(how.max_tokens, device=length_B.device) < length_B[:, None]
    lengths: list[int] = length_B.tolist()
    tokens: list[list[int]] = token_BC.tolist()
    sequences = [Tokens(prompts[row // how.generations], tokens[row][:length]) for row, length in enumerate(lengths)]
    logp_BC = torch.where(mask_BC, logp_BC, 0.0)[:, : max(lengths)]
    entropy = torch.where(mask_BC, entropy_BC, 0.0).sum() / sum(lengths)
    return Responses(sequences, logp_BC, entropy, (end_B > limit_B).tolist())
