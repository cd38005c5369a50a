from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from worker.training.algorithm import build
from worker.training.setup.job import Setup
from worker.training.updates.finite import NonFiniteLayer, NotFinite, non_finite_gradient, non_finite_weight


def _weights(setup: Setup) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in setup.policy.model.parameters()]


def test_a_loss_that_is_nan_stops_before_the_weights_move_and_names_the_first_layer(
    make_setup: Callable[..., Setup],
) -> None:
    setup = make_setup("sft", packing=False)
    algorithm, before = build(setup), _weights(setup)

    def overflow(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf")

    setup.policy.model.get_submodule("model.layers.1.mlp.up_proj").register_forward_hook(overflow)
    with pytest.raises(NotFinite, match="train/loss became nan") as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.1.mlp.up_proj"
    assert all(torch.equal(*pair) for pair in zip(before, _weights(setup), strict=True))


def test_a_non_finite_weight_is_named(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("sft")
    algorithm = build(setup)
    with torch.no_grad():
        setup.policy.model.get_parameter("model.layers.2.mlp.down_proj.weight")[0, 0] = float("nan")
    with pytest.raises(NotFinite) as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.2.mlp.down_proj.weight"


def test_a_gradient_that_is_infinite_stops_before_the_weights_move(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("grpo", algorithm_changes={"zero_variance": "off"})
    algorithm, before = build(setup), _weights(setup)
    weight: Any = setup.policy.model.get_parameter("model.layers.0.mlp.up_proj.weight")
    weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NotFinite, match="train/grad_norm became") as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(*pair) for pair in zip(before, _weights(setup), strict=True))


def test_a_finite_model_has_nothing_to_report() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    assert non_finite_weight(model) is None and non_finite_gradient(model) is None
    with NonFiniteLayer(model) as first:
        model(torch.ones(1, 2))
    assert first.name is None
