"""Rejection sampling: a model answers prompts, and right responses become rows for SFT.

(DeepSeek-R1, arXiv:2501.12948, section 2.3.3; RAFT, arXiv:2304.06767; STaR, arXiv:2203.14465.) A function of the data's
seed and the model: a later attempt of the job makes the same rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from hone.errors import Invalid
from service.domain.datasets import RejectionSamplingData
from service.domain.health_notes import Note
from service.domain.rewards import asked_columns
from service.domain.specs import JobSpec
from worker.protocol import Assignment, Loaded
from worker.training import spec_notes
from worker.training.data.encode import Encoder
from worker.training.data.rows import Row, load_rows, require_columns
from worker.training.decoding.generate import Responses, Sampling, generate
from worker.training.experience.prompt_limits import asked, limit_of
from worker.training.experience.scoring import ScoredResponses, score_responses
from worker.training.rewards import gold_answers
from worker.training.rewards.pool import RewardPool
from worker.training.setup import loading
from worker.training.setup.job import Setup

PROMPTS_AT_ONCE = 64


class SampledRows(NamedTuple):
    """What rejection sampling gives."""

    rows: list[Row]
    notes: list[Note]
    loaded: list[Loaded]
    """The models that took part."""


def sample(
    assignment: Assignment, spec: JobSpec, source: RejectionSamplingData, pool: RewardPool, device: torch.device
) -> SampledRows:
    """The accepted responses as rows; Invalid if none is accepted."""
    notes: list[Note] = []
    rows = load_rows(source.prompts, assignment.files, "dataset.prompts", notes)
    require_columns(rows, [asked_columns(spec.rewards)], "dataset.prompts", "rejection-sampling")
    notes += gold_answers.check(pool, dict(enumerate(rows)), "dataset.prompts")
    policy = loading.named_model(assignment.models[source.model], "dataset.model", spec, device)
    setup = Setup(spec, policy, assignment.models, rows, pool, assignment.files)
    accepted = [row for scored in _scored(setup, source) for row in _accepted(scored, source)]
    if not accepted:
        raise Invalid(
            f"dataset.min_reward is {source.min_reward:g}, which none of {len(rows):,} x {source.num_generations} "
            "responses earned; lower it, take easier prompts, or another model",
            param="dataset.min_reward",
        )
    prompts = len({row["prompt"] if isinstance(row["prompt"], str) else str(row["prompt"]) for row in accepted})
    message = f"rejection sampling kept {len(accepted):,} responses, to {prompts:,} of {len(rows):,} prompts"
    unused = spec_notes.unused_template("dataset.prompts", source.prompts.template, rows)
    sampler = loading.report(policy, "rejection sampling", source.model)
    notes = [Note("rows_sampled", message), *notes, *setup.notes, *unused]
    return SampledRows(accepted, notes, [sampler, *setup.loaded])


def _scored(setup: Setup, source: RejectionSamplingData) -> Iterator[ScoredResponses]:
    """All responses, some prompts at a time."""
    encoder = Encoder.of(setup.policy, source.prompts, "dataset.prompts", setup.notes)
    limit = limit_of(setup.spec, setup.policy.context, source.max_completion_length, "dataset.max_completion_length")
    _, prompts = asked(setup.rows, encoder, limit, "dataset.prompts", setup.notes)
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        part = slice(start, start + PROMPTS_AT_ONCE)
        sampling = Sampling(
            source.max_completion_length,
            source.temperature,
            source.num_generations,
            source.seed,
            first_row=start * source.num_generations,
        )
        rows = [row for row in setup.rows[part] for _ in range(source.num_generations)]
        yield score_responses(setup, rows, _responses(setup, prompts[part], sampling))


def _responses(setup: Setup, prompts: list[list[int]], sampling: Sampling) -> Responses:
    return setup.rollouts.run(lambda size: generate(setup.policy, prompts, sampling, size))


def _accepted(scored: ScoredResponses, source: RejectionSamplingData) -> Iterator[Row]:
    """Of each prompt the best responses that reach `min_reward` and were not cut off, each text once."""
    generations = source.num_generations
    for start in range(0, len(scored.rows), generations):
        whole = [i for i in range(start, start + generations) if scored.judged[i] and not scored.responses.truncated[i]]
        right = [i for i in whole if scored.totals[i] >= source.min_reward]
        best = sorted(right, key=lambda i: (-scored.totals[i], i))
        texts = list(dict.fromkeys(scored.texts[i] for i in best))[: source.max_per_prompt]
        for text in texts:
            yield {**scored.rows[start], "completion": text}
