from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from worker.training.finite import NotFinite, broken_gradient, broken_layer, broken_weight
from worker.training.registry import build
from worker.training.setup import Setup


def _weights(made: Setup) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in made.policy.model.parameters()]


def test_a_loss_that_is_none_stops_before_the_weights_move_and_names_the_first_layer(
    setup: Callable[..., Setup],
) -> None:
    made = setup("sft", packing=False)
    algorithm, before = build(made), _weights(made)

    def overflow(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf")

    made.policy.model.get_submodule("model.layers.1.mlp.up_proj").register_forward_hook(overflow)
    with pytest.raises(NotFinite, match="train/loss became nan") as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.1.mlp.up_proj"
    assert all(torch.equal(*pair) for pair in zip(before, _weights(made), strict=True))


def test_a_broken_weight_is_named(setup: Callable[..., Setup]) -> None:
    made = setup("sft")
    algorithm = build(made)
    with torch.no_grad():
        made.policy.model.get_parameter("model.layers.2.mlp.down_proj.weight")[0, 0] = float("nan")
    with pytest.raises(NotFinite) as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.2.mlp.down_proj.weight"


def test_a_gradient_that_is_none_stops_before_the_weights_move(setup: Callable[..., Setup]) -> None:
    made = setup("grpo", algorithm_changes={"zero_variance": "off"})
    algorithm, before = build(made), _weights(made)
    weight: Any = made.policy.model.get_parameter("model.layers.0.mlp.up_proj.weight")
    weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NotFinite, match="train/grad_norm became") as caught:
        algorithm.advance(0)
    assert caught.value.layer == "model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(*pair) for pair in zip(before, _weights(made), strict=True))


def test_a_whole_model_has_nothing_broken() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    assert broken_weight(model) is None and broken_gradient(model) is None
    assert broken_layer(model, lambda: model(torch.ones(1, 2))) is None
