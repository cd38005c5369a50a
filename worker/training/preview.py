"""The first rows as the model sees them, and which of their tokens are learned: looked at before time is spent."""

from itertools import groupby
from typing import get_args

from transformers import PreTrainedTokenizerBase

from service.domain.supervised import RewardModelSpec, SFTSpec
from worker.training.batching import Tokens
from worker.training.data import answered
from worker.training.encode import Encoded
from worker.training.events import PreviewRow, Segment, Side
from worker.training.models import Policy
from worker.training.preferences import ended
from worker.training.setup import Setup

ROWS = 3
LONGEST_TEXT = 2000
"""Characters of a segment; a longer one is shown without its middle."""
MOST_SEGMENTS = 32


def preview(setup: Setup, count: int = ROWS) -> list[PreviewRow]:
    """The first rows of a job: what is learned, compared or asked. Rows that are dropped are not shown."""
    rows, encoder, words = setup.rows[:count], setup.encoder, setup.policy.tokenizer
    match setup.spec.algorithm:
        case SFTSpec() as spec:
            limit = min(spec.max_length, setup.policy.context)
            return learned(words, encoder.encode(rows, limit, spec.loss_on, spec.truncation))
        case RewardModelSpec() as spec:
            limit = min(spec.max_length, setup.policy.context)
            sides: dict[Side, Encoded] = {
                side: encoder.encode([answered(row, side) for row in rows], limit, "completion", spec.truncation)
                for side in get_args(Side)
            }
            return _compared(setup.policy, sides)
        case _:
            prompts = encoder.prompts(rows, setup.policy.context)
            return [_shown(words, row, Tokens(prompt, [], [])) for row, prompt in enumerate(prompts)]


def learned(words: PreTrainedTokenizerBase, encoded: Encoded) -> list[PreviewRow]:
    """Rows of which some tokens are learned."""
    return [
        _shown(words, row, sequence, row in encoded.too_long)
        for row, sequence in zip(encoded.rows, encoded.sequences, strict=True)
    ]


def _compared(policy: Policy, sides: dict[Side, Encoded]) -> list[PreviewRow]:
    """Pairs of which nothing is learned but which one is better."""
    shown = [
        _shown(policy.tokenizer, row, _read(ended(sequence, policy.stops)), row in encoded.too_long, side)
        for side, encoded in sides.items()
        for row, sequence in zip(encoded.rows, encoded.sequences, strict=True)
    ]
    return sorted(shown, key=lambda each: each.row)


def _read(sequence: Tokens) -> Tokens:
    return Tokens([*sequence.prompt, *sequence.completion], [])


def _shown(
    words: PreTrainedTokenizerBase, row: int, sequence: Tokens, truncated: bool = False, side: Side | None = None
) -> PreviewRow:
    marks = [False] * len(sequence.prompt) + (sequence.learned or [True] * len(sequence.completion))
    return PreviewRow(
        row=row + 1,
        side=side,
        segments=_segments(words, [*sequence.prompt, *sequence.completion], marks),
        tokens=sequence.total,
        learned_tokens=sum(marks),
        truncated=truncated,
    )


def _segments(words: PreTrainedTokenizerBase, ids: list[int], marks: list[bool]) -> list[Segment]:
    runs = [(mark, [ids[place] for place in run]) for mark, run in groupby(range(len(ids)), key=marks.__getitem__)]
    shown = [Segment(text=_shortened(str(words.decode(run))), learned=mark) for mark, run in runs[:MOST_SEGMENTS]]
    if left_out := len(runs) - len(shown):
        shown.append(Segment(text=f" [... {left_out:,} further parts ...]", learned=False))
    return shown


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
