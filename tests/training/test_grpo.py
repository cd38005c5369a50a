from collections.abc import Callable

import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.specs import GRPOSpec
from worker.training.advantages import group_advantages
from worker.training.aggregate import Averages
from worker.training.grpo import GRPO, token_losses
from worker.training.setup import Setup

SPEC = GRPOSpec(beta=0.0)


def test_on_policy_its_gradient_is_reinforces_with_normalised_rewards() -> None:
    reward = tensor([[1.0, 0.0, 0.0, 3.0]])
    advantage = group_advantages(reward).T
    logp = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss, _ = token_losses(logp, logp.detach(), None, advantage, SPEC)
    reinforce = -(logp * ((reward - reward.mean()) / (reward.std() + 1e-4)).T)
    assert_close(torch.autograd.grad(loss.sum(), logp), torch.autograd.grad(reinforce.sum(), logp))


def test_the_clip_stops_the_gradient_only_where_it_would_go_further() -> None:
    old = torch.zeros(4, 1)
    logp = tensor([[0.5], [0.5], [-0.5], [-0.5]]).requires_grad_()  # rho = 1.65, 1.65, 0.61, 0.61
    advantage = tensor([[1.0], [-1.0], [1.0], [-1.0]])
    loss, values = token_losses(logp, old, None, advantage, SPEC)
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert (gradient[:, 0] != 0).tolist() == [False, True, True, False]
    assert values["policy/clip_fraction"][:, 0].tolist() == [1, 0, 0, 1]


def test_the_upper_clip_can_differ() -> None:
    loss, _ = token_losses(tensor([[1.0]]), tensor([[0.0]]), None, tensor([[1.0]]), GRPOSpec(beta=0, clip_eps_high=0.5))
    assert_close(loss, tensor([[-1.5]]))


def test_the_kl_term_is_in_the_loss_and_pulls_toward_the_reference() -> None:
    logp, ref = tensor([[-1.0]]).requires_grad_(), tensor([[-2.0]])
    loss, values = token_losses(logp, logp.detach(), ref, tensor([[0.0]]), GRPOSpec(beta=0.5))
    assert_close(values["policy/kl"].detach(), tensor([[torch.e**-1.0 + 1 - 1]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert_close(gradient, tensor([[0.5 * (1 - torch.e**-1.0)]]))  # descent lowers logp, as the reference would


def test_groups_of_equal_rewards_are_skipped_but_counted(setup: Callable[..., Setup]) -> None:
    made = setup("grpo", algorithm_changes={"beta": 0.0}, rewards=[{"type": "regex", "pattern": "[0-9a-z]{3}"}])
    algorithm = GRPO(made, made.spec.algorithm)  # type: ignore[arg-type]
    seen = algorithm._actor.act(0)
    advantage = torch.zeros(8)
    advantage[:4] = tensor([1.0, -1.0, 0.5, -0.5])
    gradients = []
    for filler in (0.0, 1e-30):  # 1e-30: not skipped, and next to nothing
        shown = torch.where(advantage == 0, filler, advantage)
        algorithm._descend(seen, shown, None, list(range(8)), Averages())
        gradients.append(_gradient(made))
    assert gradients[0].abs().sum() > 0
    assert_close(gradients[0], gradients[1], atol=1e-7, rtol=1e-4)
    algorithm._descend(seen, torch.zeros(8), None, list(range(8)), Averages())
    assert not _gradient(made).any()


def test_loss_and_gradient_do_not_depend_on_the_micro_batches(setup: Callable[..., Setup]) -> None:
    steps = []
    for budget in (64, 8192):
        made = setup("grpo", micro_batch_tokens=budget)
        steps.append(GRPO(made, made.spec.algorithm).advance(0).metrics)  # type: ignore[arg-type]
    assert steps[0]["train/grad_norm"] > 0
    for name in ("train/loss", "train/grad_norm", "policy/kl", "policy/clip_fraction"):
        assert abs(steps[0][name] - steps[1][name]) < 1e-5


def _gradient(made: Setup) -> torch.Tensor:
    """All gradients in one vector, which are then cleared."""
    weights = list(made.policy.model.parameters())
    vector = torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return vector
