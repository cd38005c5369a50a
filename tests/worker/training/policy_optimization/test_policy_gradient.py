"""What the algorithms without a critic share, through whole steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from service.domain.algorithms import GRPOSpec, ReinforceSpec
from worker.training.algorithm import build
from worker.training.policy_optimization.policy_gradient import PolicyGradient, minibatches, passes
from worker.training.setup.job import Setup

Make = Callable[..., Setup]
WITHOUT_CRITIC = ["reinforce", "importance_sampling", "grpo", "mirror_descent"]
SOMETIMES = [{"type": "regex", "pattern": "[0-9a-z]{3}"}]


def _algorithm(make_setup: Make, name: str = "grpo", **own: Any) -> tuple[Setup, PolicyGradient[Any]]:
    setup = make_setup(name, rewards=SOMETIMES, algorithm_changes=own)
    algorithm = build(setup)
    assert isinstance(algorithm, PolicyGradient)
    return setup, algorithm


def _weights(setup: Setup) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in setup.policy.model.parameters()])


@pytest.mark.parametrize("name", WITHOUT_CRITIC)
def test_loss_and_gradient_do_not_depend_on_the_micro_batches(make_setup: Make, name: str) -> None:
    steps = []
    for budget in (64, 8192):
        once = {} if name == "reinforce" else {"num_iterations": 1}
        setup = make_setup(name, micro_batch_tokens=budget, algorithm_changes={"zero_variance": "off", **once})
        steps.append(build(setup).advance(0).metrics)
    assert steps[0]["train/grad_norm"] > 0
    for metric in ("train/loss", "train/grad_norm", "policy/kl_old", "policy/sampler_logp_diff"):
        assert steps[0][metric] == pytest.approx(steps[1][metric], rel=2e-6, abs=1e-5), metric


@pytest.mark.parametrize("name", [*WITHOUT_CRITIC, "ppo"])
def test_the_samplers_log_probabilities_are_the_trainers(make_setup: Make, name: str) -> None:
    assert build(make_setup(name)).advance(0).metrics["policy/sampler_logp_diff"] < 1e-5


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_at_another_temperature_the_ratio_is_that_of_the_sampling_distribution(
    make_setup: Make, temperature: float
) -> None:
    _, algorithm = _algorithm(make_setup, temperature=temperature)
    metrics = algorithm.advance(0).metrics
    assert metrics["policy/sampler_logp_diff"] < 1e-5
    assert metrics["policy/kl_old"] < 1e-9


def test_groups_of_equal_rewards_change_nothing_whether_they_are_run_or_skipped(make_setup: Make) -> None:
    ends = []
    for choice in ("skip", "off"):
        setup, algorithm = _algorithm(make_setup, beta=0.0, zero_variance=choice, prompts_per_step=4)
        metrics = algorithm.advance(0).metrics
        assert 0 < metrics["policy/zero_variance"] < 1
        ends.append((metrics["train/grad_norm"], _weights(setup)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)
    assert torch.allclose(ends[0][1], ends[1][1], atol=1e-4)


def test_a_step_in_which_all_rewards_are_equal_leaves_the_weights_as_they_are(make_setup: Make) -> None:
    setup = make_setup("grpo", rewards=[{"type": "regex", "pattern": ".*"}], algorithm_changes={"beta": 0.0})
    before = _weights(setup)
    metrics = build(setup).advance(0).metrics
    assert metrics["policy/zero_variance"] == 1 and metrics["train/grad_norm"] == 0
    assert torch.equal(before, _weights(setup))


def test_resampling_draws_prompts_until_enough_have_something_to_compare(make_setup: Make) -> None:
    _, plain = _algorithm(make_setup, beta=0.0, prompts_per_step=4)
    assert plain.advance(0).metrics["policy/zero_variance"] > 0
    _, algorithm = _algorithm(make_setup, beta=0.0, prompts_per_step=4, zero_variance="resample")
    experience = algorithm._rollouts.collect(0)
    assert experience.metrics["policy/resamples"] > 0
    reward_PG = experience.reward_B.view(4, -1)
    assert not (reward_PG == reward_PG[:, :1]).all(dim=1).any()
    drawn = algorithm.state.parts_state()["actor"]["prompts"]["drawn"]
    assert drawn == 4 * (1 + experience.metrics["policy/resamples"])


def test_resampling_gives_up_and_takes_what_there_is(make_setup: Make) -> None:
    own = {"zero_variance": "resample", "max_resamples": 2, "beta": 0.0}
    setup = make_setup("grpo", rewards=[{"type": "regex", "pattern": ".*"}], algorithm_changes=own)
    metrics = build(setup).advance(0).metrics
    assert metrics["policy/resamples"] == 2 and metrics["policy/zero_variance"] == 1


def test_a_truncated_response_teaches_nothing_if_so_asked(make_setup: Make) -> None:
    _, algorithm = _algorithm(make_setup, mask_truncated=True, max_completion_length=3, zero_variance="off")
    metrics = algorithm.advance(0).metrics
    assert metrics["policy/truncated"] == 1 and metrics["train/grad_norm"] == 0


def test_a_kl_in_the_reward_is_taken_off_before_rewards_are_compared(make_setup: Make) -> None:
    setup, algorithm = _algorithm(
        make_setup, beta=0.5, kl_placement="reward", kl_estimator="k1", advantage_norm="group_mean"
    )
    with torch.no_grad():
        for weight in setup.policy.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=0.02)
    sampled = algorithm._rollouts.collect(0)
    experience = replace(sampled, ref_BT=algorithm._reference.logprobs(sampled.sequences))
    assert experience.ref_BT is not None
    kl_B = ((experience.sampler_BT - experience.ref_BT) * experience.mask_BT).sum(dim=1)
    assert kl_B.abs().max() > 0.01
    reward_PG = (experience.reward_B - 0.5 * kl_B).view(2, -1)
    expected = (reward_PG - reward_PG.mean(dim=1, keepdim=True)).flatten()
    torch.testing.assert_close(algorithm.advantages(experience), expected)


def test_a_synced_reference_moves_part_of_the_way_to_the_policy(make_setup: Make) -> None:
    setup, algorithm = _algorithm(make_setup, beta=0.1, ref_sync_steps=2, ref_sync_alpha=0.25)
    (reference,) = algorithm.state.modules.values()
    start = torch.cat([weight.detach().flatten() for weight in reference.parameters()])
    algorithm.advance(0)
    assert torch.equal(start, torch.cat([weight.detach().flatten() for weight in reference.parameters()]))
    algorithm.advance(1)
    now = torch.cat([weight.detach().flatten() for weight in reference.parameters()])
    torch.testing.assert_close(now, 0.75 * start + 0.25 * _weights(setup), atol=1e-6, rtol=0)


def test_an_adaptive_coefficient_is_in_the_state(make_setup: Make) -> None:
    _, algorithm = _algorithm(make_setup, beta=0.1, kl_target=1.0, kl_horizon=8)
    assert algorithm.advance(0).metrics["policy/beta"] == 0.1
    assert algorithm.state.parts_state()["reference"]["beta"] == pytest.approx(
        0.08
    )  # the policy is still its own reference


def test_the_entropy_bonus_raises_the_entropy(make_setup: Make) -> None:
    losses = {}
    for coefficient in (0.0, 1.0):
        _, algorithm = _algorithm(make_setup, beta=0.0, entropy_coef=coefficient, num_iterations=8)
        for step in range(3):
            metrics = algorithm.advance(step).metrics
        losses[coefficient] = metrics["policy/entropy"]
    assert losses[1.0] > losses[0.0]


def test_the_same_seed_gives_the_same_step(make_setup: Make) -> None:
    ends = []
    for _ in range(2):
        setup, algorithm = _algorithm(make_setup)
        algorithm.advance(0)
        ends.append(_weights(setup))
    assert torch.equal(*ends)


def test_each_pass_goes_through_all_groups_once_and_splits_none() -> None:
    spec = GRPOSpec(prompts_per_step=5, num_generations=2, minibatches=2, num_iterations=3)
    assert passes(spec) == (3, 2)
    assert minibatches(torch.arange(10) // 2, 2) == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    assert minibatches(torch.tensor([0, 2, 2, 2, 4]), 2) == [[0], [1, 2, 3, 4]]  # some responses do not count


def test_reinforce_uses_a_response_once() -> None:
    assert passes(ReinforceSpec()) == (1, 1)


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_minibatches_are_as_even_as_can_be(parts: int) -> None:
    sizes = [len(rows) for rows in minibatches(torch.arange(14) // 2, parts)]
    assert sum(sizes) == 14 and max(sizes) - min(sizes) <= 2
