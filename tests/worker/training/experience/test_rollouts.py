from collections.abc import Callable
from typing import Any

import torch

from worker.training.algorithm import build
from worker.training.experience.prompts import Prompts
from worker.training.experience.rollouts import RolloutSampler
from worker.training.models.logprobs import frozen_logprobs
from worker.training.setup.job import Setup

Make = Callable[..., Setup]


def _sampler(make_setup: Make, **own: Any) -> RolloutSampler:
    setup = make_setup("grpo", algorithm_changes=own)
    spec: Any = setup.spec.algorithm
    prompts = Prompts(setup.rows, None, 0)
    return RolloutSampler(setup, spec, setup.encoder.prompts(setup.rows, 1000), prompts)


def test_responses_grow_over_steps_until_they_end_or_reach_the_limit(make_setup: Make) -> None:
    sampler = _sampler(make_setup, partial_rollout_length=3, max_completion_length=8)
    batch = sampler.sample(0, 0)
    lengths = [len(sequence.completion) for sequence in batch.responses.sequences]
    assert lengths == [8] * 8 and all(batch.responses.truncated)  # an untrained model seldom stops
    assert batch.responses.logp_BC.shape == (8, 8)
    assert not sampler.pending


def test_each_tokens_log_probability_is_of_the_policy_that_sampled_it(make_setup: Make) -> None:
    sampler = _sampler(make_setup, partial_rollout_length=3, max_completion_length=8)
    responses = sampler.sample(0, 0).responses
    expected = frozen_logprobs(sampler.setup.policy, responses.sequences, 1.0, 4096)
    torch.testing.assert_close(responses.logp_BC, expected, atol=1e-5, rtol=0)


def test_unfinished_responses_wait_and_are_part_of_the_state(make_setup: Make) -> None:
    sampler = _sampler(make_setup, partial_rollout_length=2, max_completion_length=8)
    stops = sampler.setup.policy.stops
    with torch.no_grad():  # half of the responses end at once
        head: Any = sampler.setup.policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        head.weight[stops[0]] *= 3
    first = sampler.sample(0, 0)
    assert len(first.rows) <= 2
    again = _sampler(make_setup, partial_rollout_length=2, max_completion_length=8)
    with torch.no_grad():
        other: Any = again.setup.policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        other.weight[stops[0]] *= 3
    again.restore(sampler.state())
    assert sampler.sample(1, 0).responses.sequences == again.sample(1, 0).responses.sequences


def test_partial_rollouts_train(make_setup: Make) -> None:
    setup = make_setup("mirror_descent", algorithm_changes={"partial_rollout_length": 4, "minibatches": 2})
    algorithm = build(setup)
    for step in range(3):
        metrics = algorithm.advance(step).metrics
    assert metrics["train/grad_norm"] >= 0 and metrics["policy/completion_length"] <= 8
