from collections.abc import Callable
from typing import Any

import torch

from worker.training.answers import Answers
from worker.training.logprobs import frozen_logprobs
from worker.training.prompts import Prompts
from worker.training.registry import build
from worker.training.setup import Setup

Make = Callable[..., Setup]


def _answers(setup: Make, **own: Any) -> Answers:
    made = setup("grpo", algorithm_changes=own)
    spec: Any = made.spec.algorithm
    prompts = Prompts(made.rows, None, 0)
    return Answers(made, spec, made.encoder.prompts(made.rows, 1000), prompts)


def test_responses_grow_over_steps_until_they_end_or_reach_the_limit(setup: Make) -> None:
    answers = _answers(setup, partial_rollout_length=3, max_completion_length=8)
    answered = answers.next(0, 0)
    lengths = [len(sequence.completion) for sequence in answered.responses.sequences]
    assert lengths == [8] * 8 and all(answered.responses.truncated)  # an untrained model seldom stops
    assert answered.responses.logp_BC.shape == (8, 8)
    assert not answers.pending


def test_each_tokens_log_probability_is_of_the_policy_that_sampled_it(setup: Make) -> None:
    answers = _answers(setup, partial_rollout_length=3, max_completion_length=8)
    responses = answers.next(0, 0).responses
    expected = frozen_logprobs(answers.setup.policy, responses.sequences, 1.0, 4096)
    torch.testing.assert_close(responses.logp_BC, expected, atol=1e-5, rtol=0)


def test_unfinished_responses_wait_and_are_part_of_the_state(setup: Make) -> None:
    answers = _answers(setup, partial_rollout_length=2, max_completion_length=8)
    stops = answers.setup.policy.stops
    with torch.no_grad():  # half of the responses end at once
        head: Any = answers.setup.policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        head.weight[stops[0]] *= 3
    first = answers.next(0, 0)
    assert len(first.rows) <= 2
    again = _answers(setup, partial_rollout_length=2, max_completion_length=8)
    with torch.no_grad():
        other: Any = again.setup.policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        other.weight[stops[0]] *= 3
    again.restore(answers.state())
    assert answers.next(1, 0).responses.sequences == again.next(1, 0).responses.sequences


def test_partial_rollouts_train(setup: Make) -> None:
    made = setup("mirror_descent", algorithm_changes={"partial_rollout_length": 4, "minibatches": 2})
    algorithm = build(made)
    for step in range(3):
        metrics = algorithm.advance(step).metrics
    assert metrics["train/grad_norm"] >= 0 and metrics["policy/completion_length"] <= 8
