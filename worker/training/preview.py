"""The preview of a job: its first rows as the model reads them, with the tokens that are in the loss."""

from itertools import groupby
from typing import get_args

from transformers import PreTrainedTokenizerBase

from service.domain.supervised import RewardModelSpec, SFTSpec
from worker.protocol import PreviewRow, Segment, Side
from worker.training.data.encoded import EncodedRows
from worker.training.data.rows import sft_row
from worker.training.models.policy import Policy
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup

ROWS = 3
MAX_TEXT = 2000
"""Characters of a segment; a longer one is shown without its middle."""
MAX_SEGMENTS = 32


def preview(setup: Setup, count: int = ROWS) -> list[PreviewRow]:
    """The first rows of a job: what is learned, compared or asked. Rows that are dropped are not shown."""
    rows, encoder, tokenizer = setup.rows[:count], setup.encoder, setup.policy.tokenizer
    encoder.notes = []  # the training says it of all rows
    match setup.spec.algorithm:
        case SFTSpec() as spec:
            limit = min(spec.max_length, setup.policy.context)
            return preview_learned(tokenizer, encoder.encode(rows, limit, spec.loss_on, spec.truncation))
        case RewardModelSpec() as spec:
            limit = min(spec.max_length, setup.policy.context)
            sides: dict[Side, EncodedRows] = {
                side: encoder.encode([sft_row(row, side) for row in rows], limit, "completion", spec.truncation)
                for side in get_args(Side)
            }
            return _compared(setup.policy, sides)
        case _:
            prompts = encoder.prompts(rows, setup.policy.context)
            return [_shown(tokenizer, row, Tokens(prompt, [], [])) for row, prompt in enumerate(prompts)]


def preview_learned(tokenizer: PreTrainedTokenizerBase, encoded: EncodedRows) -> list[PreviewRow]:
    """Rows of which some tokens are in the loss."""
    return [
        _shown(tokenizer, row, sequence, truncated=row in encoded.too_long)
        for row, sequence in zip(encoded.rows, encoded.sequences, strict=True)
    ]


def _compared(policy: Policy, sides: dict[Side, EncodedRows]) -> list[PreviewRow]:
    """Pairs of which nothing is learned but which one is better."""
    shown = [
        _shown(
            policy.tokenizer,
            row,
            _read(sequence),
            truncated=row in encoded.too_long,
            side=side,
        )
        for side, encoded in sides.items()
        for row, sequence in zip(encoded.rows, encoded.sequences, strict=True)
    ]
    return sorted(shown, key=lambda each: each.row)


def _read(sequence: Tokens) -> Tokens:
    return Tokens([*sequence.prompt, *sequence.completion], [])


def _shown(
    tokenizer: PreTrainedTokenizerBase, row: int, sequence: Tokens, *, truncated: bool = False, side: Side | None = None
) -> PreviewRow:
    mask = [False] * len(sequence.prompt) + (sequence.loss_mask or [True] * len(sequence.completion))
    return PreviewRow(
        row=row + 1,
        side=side,
        segments=_segments(tokenizer, [*sequence.prompt, *sequence.completion], mask),
        tokens=sequence.total,
        learned_tokens=sum(mask),
        truncated=truncated,
    )


def _segments(tokenizer: PreTrainedTokenizerBase, ids: list[int], mask: list[bool]) -> list[Segment]:
    runs = [(in_loss, [ids[place] for place in run]) for in_loss, run in groupby(range(len(ids)), key=mask.__getitem__)]
    shown = [
        Segment(text=_shortened(str(tokenizer.decode(run))), learned=in_loss) for in_loss, run in runs[:MAX_SEGMENTS]
    ]
    if left_out := len(runs) - len(shown):
        shown.append(Segment(text=f" [... {left_out:,} further parts ...]", learned=False))
    return shown


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
