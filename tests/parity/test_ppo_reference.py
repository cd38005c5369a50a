"""The pieces of PPO against the formulas of their papers, written out token by token, in double precision.

Shapes: B responses, T tokens.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from service.domain.algorithms import PPOSpec
from worker.training.algorithms import ppo
from worker.training.experience.collect import Experience
from worker.training.models.logprobs import Predicted
from worker.training.objectives.advantages import gae, on_last_token, whitened
from worker.training.objectives.aggregate import row_weights
from worker.training.objectives.kl import KLController
from worker.training.objectives.surrogate import Batch
from worker.training.policy_optimization.policy_gradient import token_kl

LENGTHS = [5, 1, 3, 4]
LONGEST = max(LENGTHS)
Rows = list[list[float]]
"""One list for each response, as long as it."""


def draw(seed: int, scale: float = 1.0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(length, generator=generator, dtype=torch.float64)).tolist() for length in LENGTHS]


def padded(rows: Rows) -> Tensor:
    return torch.tensor([row + [0.0] * (LONGEST - len(row)) for row in rows], dtype=torch.float64)


MASK_BT = padded([[1.0] * length for length in LENGTHS])


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.99, 0.95), (1.0, 0.0), (0.5, 0.9)])
def test_gae_is_the_discounted_sum_of_temporal_differences(gamma: float, lam: float) -> None:
    """Schulman et al. 2016 (arXiv:1506.02438), equations 10 and 16, with V = 0 after the last token."""
    rewards, values = draw(1), draw(2)
    expected = []
    for reward, value in zip(rewards, values, strict=True):
        following = [*value[1:], 0.0]
        delta = [reward[t] + gamma * following[t] - value[t] for t in range(len(reward))]
        expected.append(
            [sum((gamma * lam) ** k * delta[t + k] for k in range(len(delta) - t)) for t in range(len(delta))]
        )
    assert_close(gae(padded(rewards), padded(values), MASK_BT, gamma, lam), padded(expected))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_with_lambda_1_the_advantage_is_the_discounted_return_less_the_value(gamma: float) -> None:
    """The same paper, equation 18."""
    rewards, values = draw(3), draw(4)
    expected = [
        [sum(gamma**k * reward[t + k] for k in range(len(reward) - t)) - value[t] for t in range(len(reward))]
        for reward, value in zip(rewards, values, strict=True)
    ]
    assert_close(gae(padded(rewards), padded(values), MASK_BT, gamma, 1.0), padded(expected))


def surrogate(ratio: float, advantage: float, low: float, high: float, dual: float | None) -> float:
    """Schulman et al. 2017 (arXiv:1707.06347), equation 7; Ye et al. 2020 (arXiv:1912.09729), equation 5."""
    held = 1 - low if ratio < 1 - low else 1 + high if ratio > 1 + high else ratio
    least = min(ratio * advantage, held * advantage)
    return least if dual is None or advantage >= 0 else max(least, dual * advantage)


@pytest.mark.parametrize("options", [{}, {"clip_eps": 0.1, "clip_eps_high": 0.3}, {"dual_clip": 1.5}])
def test_the_loss_is_the_negative_mean_of_the_clipped_surrogate(options: dict[str, float]) -> None:
    spec = PPOSpec.model_validate({"beta": 0.0, **options})
    logps, olds, advantages = draw(5), draw(6), draw(7)
    high = spec.clip_eps if spec.clip_eps_high is None else spec.clip_eps_high
    expected = 0.0
    for logp, old, advantage in zip(logps, olds, advantages, strict=True):
        terms = [
            surrogate(math.exp(logp[t] - old[t]), advantage[t], spec.clip_eps, high, spec.dual_clip)
            for t in range(len(logp))
        ]
        expected -= sum(terms) / len(terms) / len(logps)
    batch = Batch(Predicted(padded(logps), None), padded(olds), None, MASK_BT, 0.0)
    loss_BT, _ = ppo.PPOObjective(spec).token_losses(batch, padded(advantages))
    weight_B = row_weights(torch.tensor(LENGTHS), spec.loss_aggregation).double()
    loss = (loss_BT * MASK_BT * weight_B[:, None]).sum()
    assert_close(loss, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=1e-7)  # weights are fp32


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_critics_loss_is_the_larger_of_the_plain_and_the_clipped_squared_error(clip: float | None) -> None:
    """As in OpenAI's code for the paper: the value may not gain by moving further than the clip."""
    values, olds, returns = draw(8), draw(9), draw(10)
    expected = []
    for value, old, target in zip(values, olds, returns, strict=True):
        row = []
        for t in range(len(value)):
            plain = (value[t] - target[t]) ** 2
            moved = value[t] - old[t]
            held = old[t] + (moved if clip is None else min(clip, max(-clip, moved)))
            row.append(max(plain, (held - target[t]) ** 2))
        expected.append(row)
    loss_BT, _ = ppo.value_losses(padded(values), padded(olds), padded(returns), clip)
    assert_close(loss_BT, padded(expected))


def test_an_adaptive_coefficient_follows_the_proportional_rule() -> None:
    """Ziegler et al. 2019 (arXiv:1909.08593), section 2.2, with the horizon of its code."""
    beta, target, horizon = 0.15, 6.0, 10_000.0
    controller = KLController(beta, target, horizon)
    for kl, responses in [(6.0, 64), (20.0, 64), (0.5, 128), (6.6, 512)]:
        error = kl / target - 1
        error = 0.2 if error > 0.2 else -0.2 if error < -0.2 else error
        beta = beta * (1 + error * responses / horizon)
        controller.observe(kl, responses)
        assert controller.beta == pytest.approx(beta, rel=1e-12)


def test_a_coefficient_without_a_target_stays() -> None:
    controller = KLController(0.1, None, 10_000)
    controller.observe(100.0, 64)
    assert controller.beta == 0.1


@pytest.mark.parametrize("keep_mean", [False, True])
def test_whitening_takes_mean_and_spread_of_all_tokens_together(keep_mean: bool) -> None:
    rows = draw(11, scale=3.0)
    tokens = [value for row in rows for value in row]
    mean = sum(tokens) / len(tokens)
    spread = math.sqrt(sum((value - mean) ** 2 for value in tokens) / (len(tokens) - 1))
    expected = [[(value - mean) / spread + (mean if keep_mean else 0.0) for value in row] for row in rows]
    assert_close(whitened(padded(rows), MASK_BT, keep_mean=keep_mean), padded(expected), atol=1e-8, rtol=1e-8)


def test_in_the_reward_each_token_pays_for_its_kl_and_the_last_one_earns() -> None:
    """Stiennon et al. 2020 (arXiv:2009.01325), R = r - beta log (pi / ref), token by token as in InstructGPT."""
    beta, scores, olds, refs = 0.05, [1.0, -2.0, 0.0, 3.0], draw(12), draw(13)
    expected = []
    for score, old, ref in zip(scores, olds, refs, strict=True):
        row = [-beta * (old[t] - ref[t]) for t in range(len(old))]
        row[-1] += score
        expected.append(row)
    score_B = torch.tensor(scores, dtype=torch.float64)
    place_B = torch.arange(len(scores))
    experience = Experience([], padded(olds), torch.tensor(LENGTHS), score_B, place_B, {}, [], padded(refs))
    reward_BT = on_last_token(score_B, MASK_BT) - beta * token_kl(experience, PPOSpec(beta=beta))
    assert_close(reward_BT, padded(expected))
