"""Batched decoding with a key-value cache: token ids and their log-probabilities, nothing re-tokenised.

A prompt is read once and its cache repeated for its G responses; ended rows leave the batch. The log-probabilities
are those of the distribution that was sampled (at `temperature`), so they are pi_old's.
Shapes: P prompts, B = P*G rows (active rows only, inside the loop), C new tokens at most, S tokens so far, V words,
H hidden units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from worker.training.decoding.key_values import repeat_rows
from worker.training.decoding.prepack import Projection, prepacked
from worker.training.decoding.sampling import Drawn, choose, keys, row_keys, uniforms
from worker.training.decoding.stopping import StopDetector
from worker.training.models.head import TILE_ELEMENTS
from worker.training.models.policy import Policy
from worker.training.sequences.attention import PACKED, PLAIN
from worker.training.sequences.batching import Tokens

CHECK_EVERY = 8
"""Tokens between checks which rows have ended. A check makes the host wait for the device, which until then works on
what the host has queued; rows that end in between are decoded on, for at most 7 tokens, and cut afterwards."""
COMPACTION_THRESHOLD = 0.8
"""Share of active rows up to which the ended ones leave the batch: that copies the keys and values of the others."""


class RowSampling(NamedTuple):
    """The random numbers and the limit of one row, where rows differ in them.

    They do in further turns of responses that called tools: each row has what remains of its own limit, and random
    numbers that depend on which response it is, not on which others called a tool as well.
    """

    number: int
    """The number of the row in its step: its random numbers are a function of it."""
    max_tokens: int


class Sampling(NamedTuple):
    """How responses are sampled; temperature 0 takes the likeliest token."""

    max_tokens: int
    temperature: float = 1.0
    generations: int = 1
    seed: int = 0
    step: int = 0
    first_row: int = 0
    """The number of the first response in its step: random numbers are a function of it."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0: from all. For evaluation: ratios in training are under all tokens."""
    top_p: float = 1.0
    """Sample from the likeliest tokens that have this probability together."""
    stop: str | None = None
    """A text that ends a response too, with the token that completes it."""
    rows: tuple[RowSampling, ...] = ()
    """Instead of `first_row`, and below `max_tokens`: one for each prompt, which then has one response."""


class ToolUse(NamedTuple):
    """The calls of a response."""

    calls: int
    errors: int
    """Number of calls that failed."""
    turns: list[str]
    """The text of the policy's turns, without the output of tools."""


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
def generate(
    policy: Policy, prompts: Sequence[list[int]], sampling: Sampling, batch_size: int | None = None
) -> Responses:
    """`sampling.generations` responses to each prompt, at most `batch_size` at a time.

    The size changes no token, except where a device rounds differently for fewer rows: all prompts are padded alike.
    """
    batches = _batches(prompts, sampling, batch_size or len(prompts) * sampling.generations)
    width = max(map(len, prompts))
    with policy.autocast(), prepacked(policy) as projection:
        parts = [_decode(policy, projection, part, width, own_sampling) for part, own_sampling in batches]
    return _joined(parts)


def _batches(
    prompts: Sequence[list[int]], sampling: Sampling, batch_size: int
) -> Iterator[tuple[Sequence[list[int]], Sampling]]:
    """Whole groups where they fit, else parts of one group; rows keep their numbers, whatever the size of a batch."""
    G = sampling.generations
    groups = max(1, batch_size // G)
    for start in range(0, len(prompts), groups):
        for first in range(0, G, min(batch_size, G)):
            own_sampling = sampling._replace(
                generations=min(batch_size, G - first),
                first_row=sampling.first_row + start * G + first,
                rows=sampling.rows[start : start + groups],
            )
            yield prompts[start : start + groups], own_sampling


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
class _ActiveRows:
    """The rows of the batch, and what the model needs to continue them."""

    row_B: Tensor
    """Their places in the output."""
    key_B: Tensor
    """The keys of their random numbers."""
    ended_B: Tensor
    """Which ones have ended, and wait to leave the batch."""
    position_B1: Tensor
    """The position of the next token."""
    mask: Tensor | None
    """1 where a token is real [B, S]; or, for plain attention, what is added to the scores of all tokens that there
    will be [B or 1, 1, 1, S]; None where no prompt is padded."""
    cache: DynamicCache
    hidden_BH: Tensor
    """The hidden states that predict the next token."""

    def select(self, index_B: Tensor) -> None:
        """Drop all other rows."""
        self.cache.reorder_cache(index_B)  # type: ignore[arg-type]  # declared as LongTensor
        self.row_B, self.key_B, self.ended_B = self.row_B[index_B], self.key_B[index_B], self.ended_B[index_B]
        self.position_B1, self.hidden_BH = self.position_B1[index_B], self.hidden_BH[index_B]
        if self.mask is not None and len(self.mask) > 1:
            self.mask = self.mask[index_B]


class _DrawnTokens:
    """All drawn tokens: one row for each response, one column for each token."""

    def __init__(self, rows: int, tokens: int, device: torch.device) -> None:
        self.token_BC = torch.zeros(rows, tokens, dtype=torch.long, device=device)
        self.logp_BC = torch.zeros(rows, tokens, device=device)
        self.entropy_BC = torch.zeros(rows, tokens, device=device)

    def write(self, row_B: Tensor, t: int, drawn: Drawn) -> None:
        """Column `t` of some rows."""
        self.token_BC[row_B, t], self.logp_BC[row_B, t], self.entropy_BC[row_B, t] = drawn


def _decode(
    policy: Policy, projection: Projection, prompts: Sequence[list[int]], width: int, sampling: Sampling
) -> Responses:
    """All responses to some prompts, token by token; ended rows leave the batch at the beginning of a window."""
    rows = len(prompts) * sampling.generations
    limits = [row.max_tokens for row in sampling.rows] or [sampling.max_tokens] * rows
    limit_B = torch.tensor(limits, device=policy.device)
    active = _prefill(policy, prompts, width, sampling)
    drawn = _DrawnTokens(rows, sampling.max_tokens, policy.device)
    stops = StopDetector(policy, sampling.stop, limit_B)
    for window in _windows(sampling.max_tokens):
        active.ended_B |= stops.ended(drawn.token_BC, active.row_B, window.start, CHECK_EVERY)
        growing = int((~active.ended_B).sum())  # here the host waits for the device
        if growing == 0:
            break
        if growing <= COMPACTION_THRESHOLD * len(active.ended_B):
            active.select((~active.ended_B).nonzero()[:, 0])
        uniform_BC = uniforms(active.key_B, window)  # after the drop, so for the rows that are left
        for column, t in enumerate(window):
            chosen = _choose(projection, active.hidden_BH, uniform_BC[:, column], sampling)
            drawn.write(active.row_B, t, chosen)
            if t + 1 < sampling.max_tokens:  # no token follows the last one
                _feed(policy, active, chosen.token_B)
    end_B = stops.lengths(drawn.token_BC, active.row_B, CHECK_EVERY)
    return _cut(prompts, sampling, end_B, limit_B, drawn)


def _windows(tokens: int) -> Iterator[range]:
    """The positions 0 to `tokens` - 1, `CHECK_EVERY` at a time."""
    for start in range(0, tokens, CHECK_EVERY):
        yield range(start, min(start + CHECK_EVERY, tokens))


def _choose(projection: Projection, hidden_BH: Tensor, uniform_B: Tensor, sampling: Sampling) -> Drawn:
    """The next tokens, of so many rows at a time that not too many logits are held."""
    # As many as the training's tiles hold: 64 MiB of fp32, whatever the vocabulary.
    size = max(1, TILE_ELEMENTS // len(projection.head.weight_VH))
    with torch.autocast(hidden_BH.device.type, enabled=False):  # the product has its precision; probabilities are fp32
        parts = [
            choose(projection.logits(hidden), uniform, sampling.temperature, sampling.top_k, sampling.top_p)
            for hidden, uniform in zip(torch.split(hidden_BH, size), torch.split(uniform_B, size), strict=True)
        ]
    return parts[0] if len(parts) == 1 else Drawn(*map(torch.cat, zip(*parts, strict=True)))


def _prefill(policy: Policy, prompts: Sequence[list[int]], width: int, sampling: Sampling) -> _ActiveRows:
    """Read each prompt once, padded on the left to `width`, and repeat its keys and values for its G rows."""
    G, device = sampling.generations, policy.device
    assert not sampling.rows or G == 1
    # On the left, so that all rows' next token stands in the same column: one new column of keys serves them all.
    input_PL = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    length_P1 = torch.tensor([[len(prompt)] for prompt in prompts], device=device)
    real_PL = (torch.arange(width, device=device) >= width - length_P1).long()
    padded = any(len(prompt) < width for prompt in prompts)
    state = {"attention_mask": real_PL, "position_ids": (real_PL.cumsum(1) - 1).clamp(min=0)} if padded else {}
    cache = DynamicCache(config=policy.model.config)
    hidden_PH = policy.hidden(input_PL, past_key_values=cache, use_cache=True, **state)[:, -1]
    limit, prompt_B = width + sampling.max_tokens, torch.arange(len(prompts), device=device).repeat_interleave(G)
    plain = repeat_rows(cache, prompt_B, limit, policy.dtype) and _adds_masks(policy)
    mask = real_PL[prompt_B] if padded else None
    return _ActiveRows(
        row_B=torch.arange(len(prompt_B), device=device),
        key_B=_keys(sampling, len(prompt_B), device),
        ended_B=torch.zeros_like(prompt_B, dtype=torch.bool),
        position_B1=length_P1[prompt_B],
        mask=_additive(mask, limit, policy) if plain else mask,
        cache=cache,
        hidden_BH=hidden_PH[prompt_B],
    )


def _keys(sampling: Sampling, rows: int, device: torch.device) -> Tensor:
    if not sampling.rows:
        return row_keys(sampling.seed, sampling.step, sampling.first_row, rows, device)
    return keys(sampling.seed, sampling.step, torch.tensor([row.number for row in sampling.rows], device=device))


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


def _feed(policy: Policy, active: _ActiveRows, token_B: Tensor) -> None:
    """Feed the chosen tokens: the hidden states that predict the next ones."""
    state: dict[str, Tensor] = {}
    if active.mask is not None:
        if active.mask.ndim == 2:  # transformers makes its own from it, and wants a column for the new token as well
            active.mask = torch.cat([active.mask, torch.ones_like(active.mask[:, :1])], dim=1)
        mask = active.mask if active.mask.ndim == 2 else active.mask[..., : active.cache.get_seq_length() + 1]
        state = {"attention_mask": mask, "position_ids": active.position_B1}
    active.hidden_BH = policy.hidden(token_B[:, None], past_key_values=active.cache, use_cache=True, **state)[:, -1]
    active.position_B1 = active.position_B1 + 1


def _cut(
    prompts: Sequence[list[int]], sampling: Sampling, end_B: Tensor, limit_B: Tensor, drawn: _DrawnTokens
) -> Responses:
    """Cut each row where it ends, or at its limit."""
    length_B = torch.minimum(end_B, limit_B)
    mask_BC = torch.arange(sampling.max_tokens, device=length_B.device) < length_B[:, None]
    lengths: list[int] = length_B.tolist()
    tokens: list[list[int]] = drawn.token_BC.tolist()
    sequences = [
        Tokens(prompts[row // sampling.generations], tokens[row][:length]) for row, length in enumerate(lengths)
    ]
    logp_BC = torch.where(mask_BC, drawn.logp_BC, 0.0)[:, : max(lengths)]
    entropy = torch.where(mask_BC, drawn.entropy_BC, 0.0).sum() / sum(lengths)
    return Responses(sequences, logp_BC, entropy, (end_B > limit_B).tolist())
