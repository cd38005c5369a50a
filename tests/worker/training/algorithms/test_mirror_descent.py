import math

import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import MirrorDescentSpec
from worker.training.algorithms.mirror_descent import MirrorDescentObjective
from worker.training.models.logprobs import Predicted
from worker.training.objectives.surrogate import Batch

MASK = tensor([[1.0, 1.0], [1.0, 0.0]])


def test_the_baseline_is_the_soft_mean_of_the_rewards() -> None:
    soft = 0.5 * math.log((math.exp(0 / 0.5) + math.exp(1 / 0.5)) / 2)
    ours = MirrorDescentObjective(MirrorDescentSpec(tau=0.5, num_generations=2)).advantages(tensor([[0.0, 1.0]]))
    assert_close(ours, tensor([[-soft, 1 - soft]]))


def test_the_soft_mean_tends_to_the_mean_as_tau_grows() -> None:
    reward = tensor([[0.0, 1.0, 0.5, 0.0]], dtype=torch.float64)
    soft, mean = (
        MirrorDescentObjective(spec) for spec in (MirrorDescentSpec(tau=100), MirrorDescentSpec(baseline="mean"))
    )
    assert_close(soft.advantages(reward), mean.advantages(reward), atol=2e-3, rtol=0)


def test_its_loss_is_the_squared_error_of_the_optimality_condition() -> None:
    logp, old = tensor([[-1.0, -1.0], [-2.0, 0.0]]), tensor([[-1.5, -1.2], [-1.0, 0.0]])
    batch = Batch(Predicted(logp, None), old, None, MASK, 0.0)
    loss, _ = MirrorDescentObjective(MirrorDescentSpec(tau=0.5)).token_losses(batch, tensor([[1.0], [-1.0]]))
    first, second = (1 - 0.5 * 0.7) ** 2, (-1 - 0.5 * -1.0) ** 2  # over 2 tau = 1
    assert_close(loss, tensor([[first, first], [second, second]]))


def test_at_the_start_of_a_step_its_gradient_is_the_policy_gradient() -> None:
    logp = tensor([[-1.0, -1.0], [-2.0, 0.0]], requires_grad=True)
    batch = Batch(Predicted(logp, None), logp.detach(), None, MASK, 0.0)
    loss, _ = MirrorDescentObjective(MirrorDescentSpec(tau=0.1)).token_losses(batch, tensor([[0.7], [-0.3]]))
    (gradient,) = torch.autograd.grad(loss[:, 0].sum(), logp)
    assert_close(gradient, tensor([[-0.7, -0.7], [0.3, 0.0]]))
