"""Prompts that are too long to be answered: refused with their rows, or left out and counted."""

from collections.abc import Sequence
from typing import NamedTuple

from hone.errors import Invalid
from service.domain.algorithms import OverlongPrompts, PolicySpec
from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from worker.training.data.encode import UNLIMITED, Encoder
from worker.training.data.rows import Row, row_numbers


class PromptLimit(NamedTuple):
    """How long prompts may be."""

    tokens: int
    reason: str
    """Where the limit comes from, as it follows '1,100 tokens, more than ...'."""
    remedy: str
    """How to raise it."""
    overlong: OverlongPrompts
    may_drop: bool = False
    """Whether the spec has a field for that, and it says refuse."""


class Asked(NamedTuple):
    """The rows that are asked, and what the policy reads of each."""

    rows: list[Row]
    prompts: list[list[int]]


def limit_of(spec: JobSpec, context: int, response_tokens: int, response_field: str) -> PromptLimit:
    """The limit for prompts whose responses may have `response_tokens`: what the context leaves, or the spec's own."""
    algorithm, room = spec.algorithm, context - response_tokens - 1
    remedy = f"lower {response_field} ({response_tokens:,})"
    left = f"the {max(0, room):,} that the model's context leaves"
    if not isinstance(algorithm, PolicySpec):
        return PromptLimit(room, left, remedy, "refuse")
    longest, overlong = algorithm.max_prompt_length, algorithm.overlong_prompts
    may_drop = overlong == "refuse"
    if longest is not None and longest <= room:
        named = "algorithm.max_prompt_length"
        return PromptLimit(longest, f"{named} ({longest:,})", f"raise {named}", overlong, may_drop)
    return PromptLimit(room, left, remedy, overlong, may_drop)


def asked(rows: Sequence[Row], encoder: Encoder, limit: PromptLimit, field: str, notes: list[Note]) -> Asked:
    """The rows whose prompts fit. Invalid names the others, unless they are dropped; a note counts those."""
    prompts = encoder.prompts(rows, UNLIMITED)
    overlong = [index for index, prompt in enumerate(prompts) if len(prompt) > limit.tokens]
    if not overlong:
        return Asked(list(rows), prompts)
    longest = max(len(prompts[index]) for index in overlong)
    what = f"{len(overlong):,} of {len(rows):,} rows of {field}"
    if limit.overlong == "refuse" or len(overlong) == len(rows):
        too_long = f"have prompts of up to {longest:,} tokens, more than {limit.reason}: {row_numbers(overlong)}"
        may_drop = limit.may_drop and len(overlong) < len(rows)
        remedy = f"{limit.remedy}, or set algorithm.overlong_prompts to drop" if may_drop else f"or {limit.remedy}"
        raise Invalid(f"{what} {too_long}; shorten them, {remedy}", param=field)
    message = f"{what} are left out: their prompts have up to {longest:,} tokens, more than {limit.reason}"
    notes.append(Note("prompts_left_out", message, f"to keep them, {limit.remedy}", field))
    kept = [index for index, prompt in enumerate(prompts) if len(prompt) <= limit.tokens]
    return Asked([rows[index] for index in kept], [prompts[index] for index in kept])
