"""Rejection sampling: a model answers prompts, and what is right becomes rows for SFT.

(DeepSeek-R1, arXiv:2501.12948, section 2.3.3; RAFT, arXiv:2304.06767; STaR, arXiv:2203.14465.) A function of the data's
seed and the model: a later attempt of the job makes the same rows.
"""

from collections.abc import Iterator

import torch

from service.domain.datasets import RejectionSamplingData
from service.domain.errors import Invalid
from service.domain.specs import JobSpec
from worker.training import data, loading
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.events import Assignment
from worker.training.rewards.pool import RewardPool
from worker.training.rollout import Responses, Sampling, generate
from worker.training.scoring import Judged, judge
from worker.training.setup import Setup

PROMPTS_AT_ONCE = 64


def sample(
    assignment: Assignment, spec: JobSpec, source: RejectionSamplingData, pool: RewardPool, device: torch.device
) -> tuple[list[Row], list[str]]:
    """The rows, and what a person should know; Invalid if nothing was right."""
    rows = data.load(source.prompts, assignment.files, "dataset.prompts")
    data.require(rows, [("prompt", "answer")], "dataset.prompts", "rejection-sampling")
    policy = loading.model(assignment.models[source.model], "dataset.model", spec, device)
    setup = Setup(spec, policy, assignment.models, rows, pool, assignment.files)
    kept = [row for judged in _judged(setup, source) for row in _right(judged, source)]
    if not kept:
        raise Invalid(
            f"dataset.min_reward is {source.min_reward:g}, which none of {len(rows):,} x {source.num_generations} "
            "responses earned; lower it, take easier prompts, or another model",
            param="dataset.min_reward",
        )
    answered = len({row["prompt"] if isinstance(row["prompt"], str) else str(row["prompt"]) for row in kept})
    note = f"rejection sampling kept {len(kept):,} responses, to {answered:,} of {len(rows):,} prompts"
    return kept, [note, *setup.warnings]


def _judged(setup: Setup, source: RejectionSamplingData) -> Iterator[Judged]:
    """All responses, so many prompts at a time."""
    encoder = Encoder(setup.policy.tokenizer, source.prompts.template, "dataset.prompts")
    prompts = encoder.prompts(setup.rows, max(2, setup.policy.context - source.max_completion_length))
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        part = slice(start, start + PROMPTS_AT_ONCE)
        how = Sampling(
            source.max_completion_length,
            source.temperature,
            source.num_generations,
            source.seed,
            first_row=start * source.num_generations,
        )
        rows = [row for row in setup.rows[part] for _ in range(source.num_generations)]
        yield judge(setup, rows, _answered(setup, prompts[part], how))


def _answered(setup: Setup, prompts: list[list[int]], how: Sampling) -> Responses:
    return setup.rollouts.run(lambda size: generate(setup.policy, prompts, how, size))


def _right(judged: Judged, source: RejectionSamplingData) -> Iterator[Row]:
    """Of each prompt the best responses that are right and whole, each text once."""
    generations = source.num_generations
    for start in range(0, len(judged.rows), generations):
        whole = [i for i in range(start, start + generations) if not judged.responses.truncated[i]]
        right = [i for i in whole if judged.totals[i] >= source.min_reward]
        best = sorted(right, key=lambda i: (-judged.totals[i], i))
        texts = list(dict.fromkeys(judged.texts[i] for i in best))[: source.max_per_prompt]
        for text in texts:
            yield {**judged.rows[start], "completion": text}
