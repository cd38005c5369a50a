from collections.abc import Callable

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import PPOSpec
from worker.training.critic import explained_variance
from worker.training.logprobs import Predicted
from worker.training.optim import Learner
from worker.training.ppo import PPO, token_losses, value_losses
from worker.training.setup import Setup
from worker.training.surrogate import Batch


def test_before_any_update_it_is_the_plain_policy_gradient() -> None:
    logp = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    advantage = tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    batch = Batch(Predicted(logp, None), logp.detach(), None, torch.ones(2, 3), 0.0)
    loss, values = token_losses(batch, advantage, PPOSpec())
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


def test_a_kl_in_the_reward_lowers_the_reward_of_each_token(setup: Callable[..., Setup]) -> None:
    made = setup("ppo", algorithm_changes={"beta": 0.5})
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    seen = algorithm._actor.act(0)
    ref_BT = seen.old_BT - 0.1  # the policy finds each token a little likelier than the reference does
    goals = algorithm._goals(seen, ref_BT)
    plain = algorithm._goals(seen, None)
    assert_close((plain.advantage_BT - goals.advantage_BT)[:, 0], 0.5 * 0.1 * seen.length_B.float())


def test_whitened_advantages_leave_the_returns_alone(setup: Callable[..., Setup]) -> None:
    made = setup("ppo", algorithm_changes={"whiten_advantages": True})
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    seen = algorithm._actor.act(0)
    goals = algorithm._goals(seen, None)
    assert_close(goals.return_BT, seen.reward_B[:, None] * seen.mask_BT)  # gamma = lambda = 1
    tokens = goals.advantage_BT[seen.mask_BT.bool()]
    assert_close(tokens.mean(), tensor(0.0), atol=1e-6, rtol=0)
    assert_close(tokens.var(), tensor(1.0), atol=1e-3, rtol=0)


def test_the_critic_may_make_more_updates_than_the_actor(setup: Callable[..., Setup]) -> None:
    own = {"num_iterations": 1, "critic_num_iterations": 3, "critic_minibatches": 2}
    made = setup("ppo", algorithm_changes=own)
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    algorithm.advance(0)
    steps = {name: _updates(learner) for name, learner in algorithm.kept.learners.items()}
    assert steps == {"policy": 1, "critic": 6}


def _updates(learner: Learner) -> int:
    state = next(iter(learner.optimizers[0].state.values()))
    return int(state["step"])


def test_ptx_raises_the_likelihood_of_given_texts(setup: Callable[..., Setup]) -> None:
    data = {"source": "linear-algebra", "style": "symbolic", "size": 8, "seed": 5}
    made = setup("ppo", steps=8, algorithm_changes={"ptx": {"dataset": data, "coef": 10, "batch_size": 8}})
    algorithm = PPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    losses = [algorithm.advance(step).metrics["policy/ptx_loss"] for step in range(6)]
    assert losses[-1] < 0.8 * losses[0]


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
