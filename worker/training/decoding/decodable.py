"""Whether decoding with key-value cache and padding gives the log-probabilities of a pass over the whole sequence."""

from dataclasses import replace

import torch

from hone.errors import Invalid
from worker.training.decoding.generate import Sampling, generate
from worker.training.models.logprobs import frozen_logprobs
from worker.training.models.policy import Policy

PROMPTS = [[1], [0, 1, 0], [1, 1]]
TOLERANCE = 1e-3


def check(policy: Policy) -> None:
    """Invalid (param `model`) for models that can be trained on texts, but not sampled from.

    These are models whose state is no cache of keys and values (Mamba, RWKV), or that place padded prompts wrongly.
    """
    exact = replace(policy, dtype=torch.float32)
    try:
        responses = generate(exact, PROMPTS, Sampling(max_tokens=3, generations=2))
        expected_BC = frozen_logprobs(exact, responses.sequences, 1.0, budget=64)
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise _refusal(policy, f"{type(error).__name__}: {error}") from error
    difference = float((responses.logp_BC - expected_BC).abs().max())
    if difference > TOLERANCE:
        raise _refusal(policy, f"log-probabilities of sampled tokens are off by {difference:.2g}")


def _refusal(policy: Policy, reason: str) -> Invalid:
    kind = type(policy.model).__name__
    return Invalid(
        f"model {kind} cannot be decoded with the key-value cache ({reason}): it can be trained on texts (sft or "
        "reward_model, without eval_dataset), but neither answer nor learn from rewards; choose another model",
        param="model",
    )
