"""Exact attention over sequences that are laid end to end in one row, prompts shared by several responses once.

transformers calls `attend` for every layer of a model that `install` was given; with a `Layout` among the forward
pass's arguments it follows that, and without one it is the plain attention under the plain mask. The layout is an
argument, not a global, since gradient checkpointing calls the layers again in the backward pass.

One packed row: a prompt [1 2] with the completions [3 4 5], [9] and [3 8], and a prompt [6] with the completion [7 8].
The last token of a completion is only predicted, never read, so nothing of [9] is there.
Which query attends to which key:

                     prompt    completions   alone            segments   start, length, context_start, context
        index         0   1     2   3   4     5   6
        token         1   2     3   4   3     6   7           prompt         0, 2, 0, 0
        position      0   1     2   3   2     0   1           3 4            2, 2, 0, 2
                                                              (of 9)         4, 0, 0, 2     left out
        query 0       x                                       3              4, 1, 0, 2
              1       x   x                                   6 7            5, 2, 0, 0
              2       x   x     x
              3       x   x     x   x
              4       x   x             x
              5                               x
              6                               x   x

A mask over the row would be L x L, nearly all of it hidden. So queries and keys are gathered into a few buckets of
segments of similar size, each row of a bucket being one segment with its context in front of it:

        no context, causal by itself:    queries 0 1 | 5 6          keys  0 1 | 5 6
        a context of two, with a mask:   queries 2 3 | 4 .          keys  0 1 2 3 | 0 1 4 .      . is padding

Padding exists only in there. Keys of a prompt are copied for each segment that sees them; completions that are short
beside it share a segment, so the copies are at most a few times the completions.
Shapes: L tokens in the row, N segments in a bucket, R queries and P context tokens of the longest, S = P + R keys,
H heads, D units of a head.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

PLAIN, PACKED = "sdpa", "hone_packed"
"""The names in transformers of its own attention, and of `attend`."""
UNSUPPORTED_OPTIONS = ("sliding_window", "softcap", "s_aux", "position_bias")
"""Arguments by which models ask for other attention than the plain one."""
MAX_WASTE = 0.25
"""Limit of the scores of padding in a bucket, relative to the scores that are needed."""
FREE_ELEMENTS = 2**12
"""Scores that may be wasted beyond that: computing them takes less time than a call of its own."""
MASK_ELEMENTS = 2**24
"""Above this number of scores, segments with different contexts are in different buckets, to share one mask each."""


class PackedSegment(NamedTuple):
    """Neighbouring tokens of the row. They attend to their context, and causally to each other."""

    start: int
    length: int
    context_start: int = 0
    context: int = 0
    parts: tuple[int, ...] = ()
    """Lengths of the completions in it, which do not attend to each other; empty: it is one."""

    @property
    def scores(self) -> int:
        """Elements of its attention matrix."""
        return self.length * (self.context + self.length)


class Bucket(NamedTuple):
    """Segments that are computed together."""

    segments: int
    queries: int
    keys: int
    mask: Tensor | None
    """Added to the scores [N or 1, 1, R, S]; None: causal."""


class Layout(NamedTuple):
    """Where the tokens of a row are in the buckets. All buckets' rows follow each other in one axis."""

    buckets: list[Bucket]
    query_index: Tensor
    """The token of each query [sum of N*R]."""
    key_index: Tensor
    """The token of each key [sum of N*S]."""
    token_index: Tensor
    """The query of each token [L]."""


def layout(segments: Sequence[PackedSegment], device: torch.device) -> Layout:
    """How the tokens of a row that consists of these segments attend to each other."""
    buckets, queries, keys = [], [], []
    token_index = torch.empty(sum(segment.length for segment in segments), dtype=torch.long)
    offset = 0
    for members in _buckets(segments):
        numbers = [segment[:4] for segment in members]
        start_N1, length_N1, context_start_N1, context_N1 = torch.tensor(numbers).T[:, :, None]
        time_R = torch.arange(int(length_N1.max()))
        # Shorter segments repeat their last token. As a query nothing reads it (`token_index` skips it), as a key it
        # stands behind all real queries of its segment, which therefore do not attend to it.
        query_NR = start_N1 + torch.minimum(time_R, length_N1 - 1)
        # Contexts end where the queries begin, so that one causal triangle fits all; what is lacking, a negative number
        # here, is on the left, and hidden by the mask.
        past_NP = torch.arange(-int(context_N1.max()), 0) + context_N1
        key_NS = torch.cat([context_start_N1 + past_NP.clamp(min=0), query_NR], dim=1)
        slot_NR = offset + torch.arange(query_NR.numel()).view_as(query_NR)
        token_index[query_NR[time_R < length_N1]] = slot_NR[time_R < length_N1]
        offset += query_NR.numel()
        mask = _mask(past_NP, _completions(members)) if past_NP.numel() else None
        mask = None if mask is None else mask.to(device)
        buckets.append(Bucket(len(members), query_NR.shape[1], key_NS.shape[1], mask))
        queries.append(query_NR.flatten())
        keys.append(key_NS.flatten())
    return Layout(buckets, *(index.to(device) for index in (torch.cat(queries), torch.cat(keys), token_index)))


def _mask(past_NP: Tensor, part_NR: Tensor) -> Tensor:
    """-inf on the keys that a query does not attend to; one mask for all segments if it is the same for all.

    No row is all -inf, which would make a NaN: every query attends to itself.
    """
    if (past_NP >= 0).all() and not part_NR.any():
        past_NP, part_NR = past_NP[:1], part_NR[:1]
    absent_N1P = (past_NP < 0)[:, None]
    future_RR = torch.ones(part_NR.shape[1], part_NR.shape[1], dtype=torch.bool).triu(1)
    foreign_NRR = part_NR[:, :, None] != part_NR[:, None]
    hidden_NRS = torch.cat([absent_N1P.expand(-1, len(future_RR), -1), foreign_NRR | future_RR], dim=2)
    return torch.zeros(hidden_NRS.shape).masked_fill_(hidden_NRS, -torch.inf)[:, None]


def _completions(members: Sequence[PackedSegment]) -> Tensor:
    """To which of its segment's parts a query belongs [N, R]; all zeros if each has one."""
    if all(len(segment.parts) < 2 for segment in members):
        return torch.zeros(len(members), max(segment.length for segment in members), dtype=torch.long)
    rows = [torch.arange(len(segment.parts)).repeat_interleave(torch.tensor(segment.parts)) for segment in members]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _buckets(segments: Sequence[PackedSegment]) -> Iterator[list[PackedSegment]]:
    """The segments in buckets of similar size; those without a context by themselves, for they need no mask."""
    present = [segment for segment in segments if segment.length]
    yield from _similar_sizes(sorted((each for each in present if not each.context), key=lambda each: -each.length))
    dependent = _merged(each for each in present if each.context)
    if sum(segment.scores for segment in dependent) <= MASK_ELEMENTS:
        yield from _similar_sizes(sorted(dependent, key=lambda each: (-each.length, -each.context)))
        return
    for context in sorted({segment.context for segment in dependent}):
        same_context = (segment for segment in dependent if segment.context == context)
        yield from _similar_sizes(sorted(same_context, key=lambda each: -each.length))


def _merged(segments: Iterable[PackedSegment]) -> list[PackedSegment]:
    """Neighbours with the same context merged into one segment, as long as they are short compared with it."""
    merged: list[PackedSegment] = []
    for segment in segments:
        last = merged[-1] if merged else segment
        length = last.length + segment.length
        if merged and last[2:4] == segment[2:4] and length <= MAX_WASTE * segment.context:
            merged[-1] = last._replace(length=length, parts=(*last.parts, segment.length))
        else:
            merged.append(segment._replace(parts=(segment.length,)))
    return merged


def _similar_sizes(segments: list[PackedSegment]) -> Iterator[list[PackedSegment]]:
    """Neighbours in one bucket, as long as padding wastes little."""
    bucket: list[PackedSegment] = []
    needed = context = 0
    for segment in segments:
        context = max(context, segment.context)
        longest = (bucket or [segment])[0].length
        padded = (len(bucket) + 1) * longest * (context + longest)
        needed += segment.scores
        if bucket and padded - needed > max(MAX_WASTE * needed, FREE_ELEMENTS):
            yield bucket
            bucket, needed, context = [], segment.scores, segment.context
        bucket.append(segment)
    if bucket:
        yield bucket


def attend(  # noqa: PLR0913 - as transformers calls it
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    layout: Layout | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer, from [1, H, L, D] to [1, L, H, D]; ValueError if a layout cannot be followed."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    if unsupported := [name for name in UNSUPPORTED_OPTIONS if options.get(name) is not None]:
        raise ValueError(f"packed attention has no {unsupported[0]}")
    buckets = layout.buckets
    queries = torch.split(_gather(query, layout.query_index), [each.segments * each.queries for each in buckets])
    sizes = [each.segments * each.keys for each in buckets]
    keys, values = (torch.split(_gather(tensor, layout.key_index), sizes) for tensor in (key, value))
    outputs = []
    for bucket, q, k, v in zip(buckets, queries, keys, values, strict=True):
        q, k, v = (rows.view(bucket.segments, -1, *rows.shape[1:]).transpose(1, 2) for rows in (q, k, v))
        # Added to the scores, and of the queries' type: torch would turn a boolean mask into this in each layer again.
        mask = None if bucket.mask is None else bucket.mask.to(query.dtype)
        output_NRHD, _ = sdpa_attention_forward(module, q, k, v, mask, dropout=dropout, scaling=scaling)
        outputs.append(output_NRHD.flatten(0, 1).flatten(1))
    output_LE = embedding(layout.token_index, torch.cat(outputs))
    return output_LE.view(1, query.shape[2], query.shape[1], -1), None


def _gather(tensor_1HLD: Tensor, index: Tensor) -> Tensor:
    """Tokens of a row [len(index), H, D]. An embedding's gradient is summed in a fixed order, on GPUs too."""
    _, heads, _, width = tensor_1HLD.shape
    return embedding(index, tensor_1HLD[0].transpose(0, 1).flatten(1)).view(-1, heads, width)


def install(model: PreTrainedModel) -> None:
    """Make a model call `attend`."""
    AttentionInterface.register(PACKED, attend)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    model.set_attn_implementation(PACKED)


def remove(model: PreTrainedModel) -> None:
    """Make a model call its own attention again."""
    model.set_attn_implementation(PLAIN)
