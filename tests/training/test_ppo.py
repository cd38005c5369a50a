from collections.abc import Callable

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.specs import PPOSpec
from worker.training.critic import explained_variance
from worker.training.ppo import PPO, token_losses, value_losses
from worker.training.setup import Setup


def test_before_any_update_it_is_the_plain_policy_gradient() -> None:
    logp = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    advantage = tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    loss, values = token_losses(logp, logp.detach(), advantage, PPOSpec())
    assert_close(torch.autograd.grad(loss.sum(), logp)[0], -advantage)
    assert not values["policy/clip_fraction"].any()


def test_the_first_update_sees_a_ratio_of_one(setup: Callable[..., Setup]) -> None:
    made = setup("ppo", algorithm_changes={"num_iterations": 1})
    metrics = PPO(made, made.spec.algorithm).advance(0).metrics  # type: ignore[arg-type]
    assert metrics["policy/clip_fraction"] == 0
    assert abs(metrics["policy/kl_old"]) < 1e-9


def test_the_critic_starts_at_zero_and_learns_the_return(setup: Callable[..., Setup]) -> None:
    made = setup("ppo", algorithm_changes={"critic_warmup_steps": 30}, rewards=[{"type": "regex", "pattern": ".*"}])
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    first = algorithm.advance(0).metrics
    assert first["critic/loss"] == pytest.approx(1, abs=0.3)  # value 0, return 1, less what the second pass learned
    for step in range(1, 8):
        last = algorithm.advance(step).metrics
    assert last["critic/loss"] < 0.3 * first["critic/loss"]


def test_while_the_critic_warms_up_the_policy_stands_still(setup: Callable[..., Setup]) -> None:
    made = setup("ppo", algorithm_changes={"critic_warmup_steps": 1})
    before = {name: weight.clone() for name, weight in made.policy.model.state_dict().items()}
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    assert "train/loss" not in algorithm.advance(0).metrics
    assert all(torch.equal(weight, before[name]) for name, weight in made.policy.model.state_dict().items())
    assert "train/loss" in algorithm.advance(1).metrics


def test_the_critics_error_is_squared() -> None:
    assert_close(value_losses(tensor([[1.0, 3.0]]), tensor([[0.0, 5.0]])), tensor([[1.0, 4.0]]))


def test_explained_variance_is_one_for_a_prophet_and_zero_for_a_constant() -> None:
    returns, mask = tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(returns, torch.full((1, 3), 0.7), mask) == pytest.approx(0, abs=1e-6)
    assert explained_variance(torch.ones(1, 3), returns, mask) == 0


def test_loss_and_gradient_do_not_depend_on_the_micro_batches(setup: Callable[..., Setup]) -> None:
    steps = []
    for budget in (64, 8192):
        made = setup("ppo", micro_batch_tokens=budget, algorithm_changes={"num_iterations": 1})
        steps.append(PPO(made, made.spec.algorithm).advance(0).metrics)  # type: ignore[arg-type]
    for name in ("train/loss", "train/grad_norm", "critic/loss", "critic/explained_variance"):
        assert abs(steps[0][name] - steps[1][name]) < 1e-5
