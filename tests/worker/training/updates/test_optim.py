import copy
import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hone.errors import Invalid
from service.domain.specs import OptimizerSpec
from worker.training.models.policy import Policy
from worker.training.updates.optim import Learner
from worker.training.updates.schedule import learning_rate


def _rates(total: int, **fields: Any) -> list[float]:
    return [learning_rate(2.0, OptimizerSpec(**fields), step, total) for step in range(total)]


def _step(learner: Learner, step: int) -> Tensor:
    norm = learner.norm()
    learner.move(step, norm)
    return norm


def _layer(spec: OptimizerSpec, value: float = 0.0) -> tuple[nn.Linear, Learner]:
    """A 2x2 layer and a learner with gradient `value` everywhere."""
    layer = nn.Linear(2, 2)
    for weight in layer.parameters():
        nn.init.ones_(weight)
    learner = Learner(layer, 0.1, spec, 10)
    for weight in layer.parameters():
        assert weight.grad is not None
        weight.grad.fill_(value)
    return layer, learner


def test_warmup_grows_linearly_and_never_wastes_a_step_on_zero() -> None:
    assert _rates(5, schedule="constant", warmup_steps=3) == pytest.approx([0.5, 1, 1.5, 2, 2])


def test_the_schedules_by_hand() -> None:
    assert _rates(4, schedule="linear") == pytest.approx([2, 1.5, 1, 0.5])
    assert _rates(4, schedule="cosine") == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5)])
    assert _rates(6, schedule="wsd", warmup_steps=1, decay_steps=2) == pytest.approx([1, 2, 2, 2, 2, 1])
    assert _rates(20, schedule="wsd")[-4:] == pytest.approx([2, 2, 2, 1])  # a tenth of the steps


def test_the_fall_ends_at_the_floor() -> None:
    assert _rates(4, schedule="linear", min_learning_rate_ratio=0.5) == pytest.approx([2, 1.75, 1.5, 1.25])
    assert _rates(4, schedule="cosine", min_learning_rate_ratio=0.5)[2] == pytest.approx(1.5)
    assert _rates(4, schedule="wsd", decay_steps=4, min_learning_rate_ratio=0.5)[2] == pytest.approx(1.5)
    assert _rates(2, schedule="constant", min_learning_rate_ratio=0.5) == [2, 2]


def test_a_fall_that_is_longer_than_the_job_begins_after_the_warmup() -> None:
    assert _rates(3, schedule="wsd", warmup_steps=1, decay_steps=9) == pytest.approx([1, 2, 1])


def test_only_matrices_decay() -> None:
    layer, learner = _layer(OptimizerSpec(weight_decay=0.5, schedule="constant"))
    _step(learner, 0)
    assert_close(layer.weight, torch.full((2, 2), 0.95))
    assert_close(layer.bias, torch.ones(2))


def test_the_norm_is_reported_before_clipping_and_the_gradient_is_cleared() -> None:
    layer, learner = _layer(OptimizerSpec(max_grad_norm=0.5), value=4.0)
    norm = _step(learner, 0)
    assert_close(norm, torch.tensor(4 * math.sqrt(6)))
    assert layer.weight.grad is not None and not layer.weight.grad.any()
    clipped = 0.5 * 4 / float(norm)
    mean = learner.optimizers[0].state[layer.weight]["exp_avg"]
    assert_close(mean, torch.full((2, 2), 0.1 * clipped))


def test_frozen_weights_get_neither_gradient_nor_moments() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad_(False)
    learner = Learner(layer, 0.1, OptimizerSpec(), 10)
    assert layer.weight.grad is None
    assert [group["params"] for group in learner.optimizers[0].param_groups] == [[layer.bias]]


def test_muon_moves_hidden_matrices_and_adamw_the_rest(policy: Policy) -> None:
    learner = Learner(policy.model, 1e-3, OptimizerSpec(type="muon"), 10)
    names = {id(weight): name for name, weight in policy.model.named_parameters()}
    muon, adamw = (
        {names[id(weight)] for group in optimizer.param_groups for weight in group["params"]}
        for optimizer in learner.optimizers
    )
    assert muon == {name for name in names.values() if "_proj" in name}
    assert adamw == {name for name in names.values() if "norm" in name or "embed" in name}


def test_muon_moves_a_matrix_as_far_as_adamw_would() -> None:
    torch.manual_seed(0)
    start = nn.Linear(64, 32, bias=False)
    moved = []
    for kind in ("muon", "adamw"):
        layer = copy.deepcopy(start)
        learner = Learner(layer, 0.01, OptimizerSpec(type=kind, schedule="constant", max_grad_norm=None), 10)
        assert layer.weight.grad is not None
        layer.weight.grad.normal_(generator=torch.Generator().manual_seed(1))
        _step(learner, 0)
        moved.append(float((layer.weight - start.weight).detach().square().mean().sqrt()))
    muon, adamw = moved
    assert adamw == pytest.approx(0.01, rel=1e-3)
    assert muon == pytest.approx(0.2 * 0.01, rel=0.2)  # the usual size of AdamW's updates once gradients vary


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizers_go_on_exactly_where_they_were(kind: str) -> None:
    def learn(layer: nn.Module, learner: Learner, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for weight in layer.parameters():
                assert weight.grad is not None
                weight.grad.normal_(generator=generator)
            _step(learner, step)

    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    learner = Learner(layer, 0.1, OptimizerSpec.model_validate({"type": kind}), 10)
    learn(layer, learner, range(2))
    other = copy.deepcopy(layer)
    resumed = Learner(other, 0.1, OptimizerSpec.model_validate({"type": kind}), 10)
    resumed.restore(copy.deepcopy(learner.state()))
    learn(layer, learner, range(2, 4))
    learn(other, resumed, range(2, 4))
    assert all(torch.equal(*pair) for pair in zip(layer.parameters(), other.parameters(), strict=True))


def test_eight_bits_need_a_gpu_and_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, spec = nn.Linear(2, 2), OptimizerSpec(type="adamw_8bit")
    with pytest.raises(Invalid, match=r"needs a GPU; set resources\.gpus") as refusal:
        Learner(layer, 0.1, spec, 10)
    assert refusal.value.param == "optimizer.type"
    if torch.cuda.is_available():
        monkeypatch.setitem(sys.modules, "bitsandbytes", None)
        with pytest.raises(Invalid, match=r"install hone\[eightbit\]"):
            Learner(layer.to("cuda"), 0.1, spec, 10)
