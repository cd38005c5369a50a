from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import PPOSpec
from worker.training.algorithms.ppo import PPO, PPOObjective, value_losses
from worker.training.models.logprobs import Predicted
from worker.training.objectives.surrogate import Batch
from worker.training.policy_optimization.critic import explained_variance
from worker.training.setup.job import Setup
from worker.training.updates.optim import Learner


def test_before_any_update_it_is_the_plain_policy_gradient() -> None:
    logp = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    advantage = tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    batch = Batch(Predicted(logp, None), logp.detach(), None, torch.ones(2, 3), 0.0)
    loss, values = PPOObjective(PPOSpec()).token_losses(batch, advantage)
    assert_close(torch.autograd.grad(loss.sum(), logp)[0], -advantage)
    assert not values["policy/clip_fraction"].any()


def test_k3_in_the_loss_times_the_ratio_by_hand() -> None:
    """L = -min(rho A, ...) + beta rho k3, with x = ref / pi: dL/dlogp = -rho (A + beta log x).

    The second token's ratio is beyond the clip and its advantage positive, so it has the KL's part alone.
    """
    beta, rho, log_x, advantage = 0.3, tensor([[0.9, 1.5]]), tensor([[0.4, -0.7]]), tensor([[-2.0, 1.0]])
    logp = tensor([[-1.0, -2.0]], requires_grad=True)
    old, ref = logp.detach() - rho.log(), logp.detach() + log_x
    spec = PPOSpec(beta=beta, kl_estimator="k3", kl_placement="loss", kl_ratio_correction=True)
    loss, values = PPOObjective(spec).token_losses(
        Batch(Predicted(logp, None), old, ref, torch.ones(1, 2), beta), advantage
    )
    k3 = log_x.exp() - log_x - 1
    assert_close(loss.detach(), -tensor([[0.9 * -2.0, 1.2 * 1.0]]) + beta * rho * k3)
    assert_close(values["policy/kl"], k3)
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert_close(gradient, tensor([[0.9 * (2.0 - beta * 0.4), 1.5 * beta * 0.7]]))


def test_k3_in_the_loss_without_the_ratio_has_a_gradient_of_its_own() -> None:
    logp = tensor([[-1.0, -2.0]], requires_grad=True)
    log_x = tensor([[0.4, -0.7]])
    batch = Batch(Predicted(logp, None), logp.detach(), logp.detach() + log_x, torch.ones(1, 2), 0.3)
    spec = PPOSpec(beta=0.3, kl_estimator="k3", kl_placement="loss")
    loss, _ = PPOObjective(spec).token_losses(batch, torch.zeros(1, 2))
    assert_close(torch.autograd.grad(loss.sum(), logp)[0], 0.3 * (1 - log_x.exp()))


def test_the_ratio_times_the_kl_shows_once_the_policy_has_moved(make_setup: Callable[..., Setup]) -> None:
    norms = []
    for own in ({"kl_ratio_correction": True}, {"kl_ratio_correction": False}):
        changes = {"beta": 5.0, "kl_estimator": "k3", "kl_placement": "loss", "num_iterations": 3} | own
        setup = make_setup("ppo", optimizer={"learning_rate": 0.02}, algorithm_changes=changes)
        metrics = PPO(setup, setup.spec.algorithm).advance(0).metrics  # type: ignore[arg-type]
        assert metrics["policy/kl"] > 0
        norms.append(metrics["train/grad_norm"])
    assert abs(norms[0] - norms[1]) > 1e-3 * norms[1]


def test_the_first_update_sees_a_ratio_of_one(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("ppo", algorithm_changes={"num_iterations": 1})
    metrics = PPO(setup, setup.spec.algorithm).advance(0).metrics  # type: ignore[arg-type]
    assert metrics["policy/clip_fraction"] == 0
    assert abs(metrics["policy/kl_old"]) < 1e-9


def test_the_critic_starts_at_zero_and_learns_the_return(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup(
        "ppo", algorithm_changes={"critic_warmup_steps": 30}, rewards=[{"type": "regex", "pattern": ".*"}]
    )
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    first = algorithm.advance(0).metrics
    assert first["critic/loss"] == pytest.approx(1, abs=0.3)  # value 0, return 1, less what the second pass learned
    for step in range(1, 8):
        last = algorithm.advance(step).metrics
    assert last["critic/loss"] < 0.3 * first["critic/loss"]


def test_while_the_critic_warms_up_the_policy_stands_still(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("ppo", algorithm_changes={"critic_warmup_steps": 1})
    before = {name: weight.clone() for name, weight in setup.policy.model.state_dict().items()}
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    assert "train/loss" not in algorithm.advance(0).metrics
    assert all(torch.equal(weight, before[name]) for name, weight in setup.policy.model.state_dict().items())
    assert "train/loss" in algorithm.advance(1).metrics


def test_the_policys_learning_rate_begins_when_its_training_does(make_setup: Callable[..., Setup]) -> None:
    """Two steps of the critic alone, two of warm-up, then a line down to 0; the critic has the whole job's schedule."""
    setup = make_setup(
        "ppo",
        steps=8,
        optimizer={"learning_rate": 3e-3, "warmup_steps": 2, "schedule": "linear"},
        algorithm_changes={"critic_warmup_steps": 2, "critic_learning_rate": 6e-3, "num_iterations": 1},
    )
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    metrics = [algorithm.advance(step).metrics for step in range(4)]
    assert [each.get("train/learning_rate") for each in metrics] == [None, None, *map(pytest.approx, (1e-3, 2e-3))]
    assert [each["critic/learning_rate"] for each in metrics] == pytest.approx([2e-3, 4e-3, 6e-3, 5e-3])
    policy = algorithm.state.learners["policy"]
    assert [policy.rate(step) for step in (0, 1, 4, 6, 8)] == pytest.approx([0, 0, 3e-3, 1.5e-3, 0])


def test_an_adaptive_beta_waits_for_the_policy(make_setup: Callable[..., Setup]) -> None:
    """The KL of a policy that stands still is 0, which says nothing of the beta that it will need."""
    own = {"critic_warmup_steps": 2, "beta": 0.1, "kl_target": 1.0, "kl_horizon": 10, "num_iterations": 1}
    setup = make_setup("ppo", algorithm_changes=own)
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    betas = [algorithm.advance(step).metrics["policy/beta"] for step in range(4)]
    assert betas[:3] == [0.1] * 3 and betas[3] < 0.1


def test_the_critics_error_is_squared() -> None:
    value = tensor([[1.0, 3.0]])
    error, stopped = value_losses(value, value, tensor([[0.0, 5.0]]), clip=None)
    assert_close(error, tensor([[1.0, 4.0]]))
    assert not stopped.any()


def test_the_value_clip_stops_a_value_that_has_moved_far_towards_its_return() -> None:
    value = tensor([[1.0, 1.0, 0.1]], requires_grad=True)
    old, returns = torch.zeros(1, 3), tensor([[2.0, -2.0, 2.0]])
    error, stopped = value_losses(value, old, returns, clip=0.2)
    assert_close(error.detach(), tensor([[(0.2 - 2) ** 2, 9.0, (0.1 - 2) ** 2]]))
    assert stopped.tolist() == [[1.0, 0.0, 0.0]]
    (gradient,) = torch.autograd.grad(error.sum(), value)
    assert (gradient != 0).tolist() == [[False, True, True]]


def test_a_kl_in_the_reward_lowers_the_reward_of_each_token(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("ppo", algorithm_changes={"beta": 0.5})
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    experience = algorithm._rollouts.collect(0)
    ref_BT = experience.sampler_BT - 0.1  # the policy finds each token a little likelier than the reference does
    targets = algorithm.targets(replace(experience, ref_BT=ref_BT))
    plain = algorithm.targets(experience)
    assert_close((plain.advantage_BT - targets.advantage_BT)[:, 0], 0.5 * 0.1 * experience.length_B.float())


def test_whitened_advantages_leave_the_returns_alone(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("ppo", algorithm_changes={"whiten_advantages": True})
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    experience = algorithm._rollouts.collect(0)
    targets = algorithm.targets(experience)
    assert_close(targets.return_BT, experience.reward_B[:, None] * experience.mask_BT)  # gamma = lambda = 1
    tokens = targets.advantage_BT[experience.mask_BT.bool()]
    assert_close(tokens.mean(), tensor(0.0), atol=1e-6, rtol=0)
    assert_close(tokens.var(), tensor(1.0), atol=1e-3, rtol=0)


def test_the_critic_may_make_more_updates_than_the_actor(make_setup: Callable[..., Setup]) -> None:
    own = {"num_iterations": 1, "critic_num_iterations": 3, "critic_minibatches": 2}
    setup = make_setup("ppo", algorithm_changes=own)
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    algorithm.advance(0)
    steps = {name: _updates(learner) for name, learner in algorithm.state.learners.items()}
    assert steps == {"policy": 1, "critic": 6}


def _updates(learner: Learner) -> int:
    state = next(iter(learner.optimizers[0].state.values()))
    return int(state["step"])


def test_ptx_raises_the_likelihood_of_given_texts(make_setup: Callable[..., Setup]) -> None:
    data = {"source": "linear-algebra", "style": "symbolic", "size": 8, "seed": 5}
    setup = make_setup("ppo", steps=8, algorithm_changes={"ptx": {"dataset": data, "coef": 10, "batch_size": 8}})
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    losses = [algorithm.advance(step).metrics["policy/ptx_loss"] for step in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_explained_variance_is_one_for_a_prophet_and_zero_for_a_constant() -> None:
    returns, mask = tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(returns, torch.full((1, 3), 0.7), mask) == pytest.approx(0, abs=1e-6)
    assert explained_variance(torch.ones(1, 3), returns, mask) == 0


def test_loss_and_gradient_do_not_depend_on_the_micro_batches(make_setup: Callable[..., Setup]) -> None:
    steps = []
    for budget in (64, 8192):
        setup = make_setup("ppo", micro_batch_tokens=budget, algorithm_changes={"num_iterations": 1})
        steps.append(PPO(setup, setup.spec.algorithm).advance(0).metrics)  # type: ignore[arg-type]
    for name in ("train/loss", "train/grad_norm", "critic/loss", "critic/explained_variance"):
        assert abs(steps[0][name] - steps[1][name]) < 1e-5
