import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import GRPOSpec
from worker.training.algorithms.grpo import GRPOObjective
from worker.training.models.logprobs import Predicted
from worker.training.objectives.surrogate import Batch

SPEC = GRPOSpec(beta=0.0)


def test_on_policy_its_gradient_is_reinforces_with_normalised_rewards() -> None:
    reward = tensor([[1.0, 0.0, 0.0, 3.0]])
    advantage = GRPOObjective(SPEC).advantages(reward).T
    logp = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    batch = Batch(Predicted(logp, None), logp.detach(), None, torch.ones(4, 5), 0.0)
    loss, _ = GRPOObjective(SPEC).token_losses(batch, advantage)
    reinforce = -(logp * ((reward - reward.mean()) / (reward.std() + 1e-4)).T)
    assert_close(torch.autograd.grad(loss.sum(), logp), torch.autograd.grad(reinforce.sum(), logp))


def test_the_kl_is_in_the_loss_beside_the_surrogate() -> None:
    logp, ref = tensor([[-1.0]]), tensor([[-2.0]])
    batch = Batch(Predicted(logp, None), logp, ref, torch.ones(1, 1), 0.5)
    loss, values = GRPOObjective(GRPOSpec(beta=0.5)).token_losses(batch, tensor([[3.0]]))
    assert_close(loss, 0.5 * values["policy/kl"] - 3.0)


def test_at_sequence_level_one_ratio_is_clipped_for_the_whole_response() -> None:
    old = torch.zeros(1, 2)
    logp = tensor([[0.5, -0.5]], requires_grad=True)  # each token is far off, the response is not
    batch = Batch(Predicted(logp, None), old, None, torch.ones(1, 2), 0.0)
    spec = GRPOSpec(beta=0, importance_level="sequence")
    loss, values = GRPOObjective(spec).token_losses(batch, tensor([[2.0]]))
    assert_close(loss.detach(), tensor([[-2.0, -2.0]]))
    assert not values["policy/clip_fraction"].any()
    (gradient,) = torch.autograd.grad(loss.mean(), logp)
    assert_close(gradient, tensor([[-1.0, -1.0]]))
