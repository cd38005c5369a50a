from typing import Any

import torch
from torch.testing import assert_close

from worker.training.batching import micro_batches, pad
from worker.training.logprobs import completion_logprobs, frozen_logprobs
from worker.training.models import Policy
from worker.training.rollout import Sampling, generate

PROMPTS = ["det [[1,2],[3,4]]", "trace [[5]]", "hi"]


def _ids(policy: Policy, texts: list[str]) -> list[list[int]]:
    return [policy.tokenizer(text)["input_ids"] for text in texts]


def _blurred(policy: Policy) -> Policy:
    """A policy that stops now and then: a random one repeats itself and hardly ever does."""
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(0.6)
    return policy


def test_greedy_decoding_equals_transformers_generate(policy: Policy) -> None:
    model: Any = policy.model
    prompts = _ids(policy, PROMPTS)
    ours = generate(policy, prompts, Sampling(20, temperature=0.0))
    for prompt, sequence in zip(prompts, ours.sequences, strict=True):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)
        assert sequence.completion == theirs[0, len(prompt) :].tolist()


def test_its_logprobs_are_the_trainers_at_any_temperature(policy: Policy) -> None:
    policy = _blurred(policy)
    for temperature in (1.0, 0.6, 1.7):
        made = generate(policy, _ids(policy, PROMPTS), Sampling(30, temperature, generations=6, seed=3))
        forced = frozen_logprobs(policy, made.sequences, temperature, budget=500)
        assert_close(made.logp_BC, forced, atol=1e-5, rtol=0)
        assert (made.logp_BC.sum(1) < 0).all()


def test_a_response_ends_with_eos_or_at_the_limit(policy: Policy) -> None:
    policy = _blurred(policy)
    made = generate(policy, _ids(policy, PROMPTS), Sampling(60, generations=8))
    eos = policy.tokenizer.eos_token_id
    for sequence, cut in zip(made.sequences, made.truncated, strict=True):
        assert eos not in sequence.completion[:-1]
        assert cut == (sequence.completion[-1] != eos)
        assert len(sequence.completion) == 60 or not cut
    assert any(made.truncated) and not all(made.truncated)


def test_a_response_does_not_depend_on_what_else_is_in_the_batch(policy: Policy) -> None:
    policy = _blurred(policy)
    together = generate(policy, _ids(policy, PROMPTS), Sampling(24, generations=2, seed=5))
    alone = generate(policy, _ids(policy, PROMPTS[:1]), Sampling(24, generations=2, seed=5))
    assert [row.completion for row in together.sequences[:2]] == [row.completion for row in alone.sequences]


def test_other_steps_and_other_siblings_get_other_responses(policy: Policy) -> None:
    prompt = _ids(policy, PROMPTS[:1])
    steps = [generate(policy, prompt, Sampling(24, generations=2, step=step)).sequences for step in (0, 1)]
    assert len({tuple(row.completion) for made in steps for row in made}) == 4


def test_the_entropy_is_that_of_the_sampled_distribution(policy: Policy) -> None:
    prompt = _ids(policy, PROMPTS[:1])
    with torch.no_grad():
        logp = policy.model(torch.tensor(prompt)).logits[0, -1].log_softmax(-1)
    made = generate(policy, prompt, Sampling(1))
    assert_close(made.entropy, -(logp.exp() * logp).sum())


def test_padding_does_not_change_a_logprob(policy: Policy) -> None:
    sequences = generate(policy, _ids(policy, PROMPTS), Sampling(9)).sequences
    padded = frozen_logprobs(policy, sequences, 1.0, budget=10_000)
    for row, sequence in enumerate(sequences):
        alone = completion_logprobs(policy, pad([sequence], policy.device))
        assert_close(padded[row, : len(sequence.completion)], alone[0].detach(), atol=1e-5, rtol=0)


def test_micro_batches_keep_to_the_budget_and_lose_no_row(policy: Policy) -> None:
    sequences = generate(policy, _ids(policy, PROMPTS), Sampling(9, generations=4)).sequences
    groups = micro_batches(sequences, range(12), budget=64)
    assert sorted(row for group in groups for row in group) == list(range(12))
    assert all(len(group) * max(sequences[row].total for row in group) <= 64 for group in groups)
    assert len(micro_batches(sequences, [0], budget=1)) == 1
