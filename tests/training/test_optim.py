import pytest
import torch
from torch import nn
from torch.testing import assert_close

from service.domain.specs import OptimizerSpec
from worker.training.optim import Learner, learning_rate


def test_warmup_grows_linearly_and_never_wastes_a_step_on_zero() -> None:
    spec = OptimizerSpec(schedule="constant", warmup_steps=3)
    assert [learning_rate(1.0, spec, step, 6) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_the_schedules_by_hand() -> None:
    linear, cosine = OptimizerSpec(schedule="linear"), OptimizerSpec(schedule="cosine")
    assert [learning_rate(2.0, linear, step, 4) for step in range(4)] == pytest.approx([2, 1.5, 1, 0.5])
    assert [learning_rate(2.0, cosine, step, 4) for step in (0, 2)] == pytest.approx([2, 1])


def test_only_matrices_decay() -> None:
    layer = nn.Linear(2, 2)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    Learner(layer, 0.1, OptimizerSpec(weight_decay=0.5, schedule="constant"), 10).update(0)
    assert_close(layer.weight, torch.full((2, 2), 0.95))
    assert_close(layer.bias, torch.ones(2))


def test_the_norm_is_reported_before_clipping_and_the_gradient_is_cleared() -> None:
    layer = nn.Linear(1, 1, bias=False)
    learner = Learner(layer, 0.1, OptimizerSpec(max_grad_norm=0.5), 10)
    assert layer.weight.grad is not None
    layer.weight.grad.fill_(4.0)
    assert learner.update(0) == 4
    assert not layer.weight.grad.any()
    assert_close(learner.optimizer.state[layer.weight]["exp_avg"], torch.full((1, 1), 0.1 * 0.5))
