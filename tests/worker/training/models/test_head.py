from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from worker.training.models import head
from worker.training.models.head import PLAIN, Head, Transform


@pytest.fixture(params=[8, 10_000])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of two tokens, and one tile for all."""
    monkeypatch.setattr(head, "TILE_ELEMENTS", request.param)


def _inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_() for shape in [(5, 3), (4, 3), (4,)]
    )
    return hidden, weight, bias, torch.tensor([0, 3, 1, 1, 2])


def _naive(hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, temperature: float) -> Tensor:
    logits = (hidden @ weight.T + bias) / temperature
    return logits.log_softmax(-1).gather(1, target[:, None])[:, 0]


def test_the_tiled_head_equals_the_whole_one(tile: None) -> None:
    hidden, weight, bias, target = _inputs(torch.float64)
    tiled = Head(weight, bias, torch.float64).logprobs(hidden, target, 0.7)
    assert_close(tiled, _naive(hidden, weight, bias, target, 0.7))
    cotangent = torch.arange(1.0, 6.0, dtype=torch.float64)
    ours = torch.autograd.grad(tiled, (hidden, weight, bias), cotangent)
    theirs = torch.autograd.grad(_naive(hidden, weight, bias, target, 0.7), (hidden, weight, bias), cotangent)
    assert_close(ours, theirs)


def test_the_tiled_heads_gradient_is_that_of_finite_differences(tile: None) -> None:
    hidden, weight, bias, target = _inputs(torch.float64)

    def logprobs(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return Head(weight, bias, torch.float64).logprobs(hidden, target, 1.3)

    assert torch.autograd.gradcheck(logprobs, (hidden, weight, bias))


TRANSFORMS = [PLAIN, Transform(scale=0.3), Transform(cap=2.0), Transform(scale=1.7, cap=1.5)]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_log_probs_and_entropies_are_those_of_the_whole_distribution(tile: None, transform: Transform) -> None:
    hidden, weight, bias, target = _inputs(torch.float64)
    raw = transform.scale * (hidden @ weight.T + bias)
    logits = raw if transform.cap is None else transform.cap * (raw / transform.cap).tanh()
    expected: Any = torch.distributions.Categorical(logits=logits / 0.7)
    logp, entropy = Head(weight, bias, torch.float64, transform).logprobs_and_entropy(hidden, target, 0.7)
    assert_close(logp, expected.log_prob(target))
    assert_close(entropy, expected.entropy())


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("outputs", [(0,), (1,), (0, 1)])
def test_the_gradients_of_both_are_those_of_finite_differences(
    tile: None, transform: Transform, outputs: tuple[int, ...]
) -> None:
    hidden, weight, bias, target = _inputs(torch.float64)

    def chosen(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        both = Head(weight, bias, torch.float64, transform).logprobs_and_entropy(hidden, target, 1.3)
        return tuple(both[index] for index in outputs)

    assert torch.autograd.gradcheck(chosen, (hidden, weight, bias))


def test_frozen_weights_need_no_gradient(tile: None) -> None:
    hidden, weight, bias, target = _inputs(torch.float32)
    logp = Head(weight.detach(), bias.detach(), torch.float32).logprobs(hidden, target)
    torch.autograd.backward(logp.sum())
    assert hidden.grad is not None and weight.grad is None and bias.grad is None


def test_no_tokens_have_no_logprobs_and_no_gradient() -> None:
    hidden, weight, _, _ = _inputs(torch.float32)
    logp = Head(weight, None, torch.float32).logprobs(hidden[:0], torch.zeros(0, dtype=torch.long))
    assert logp.shape == (0,)
    torch.autograd.backward(logp.sum())
    assert weight.grad is not None and not weight.grad.any()


def test_bf16_sums_its_tiles_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(400, 8, generator=generator), torch.randn(6, 8, generator=generator).requires_grad_()
    target = torch.randint(0, 6, (400,), generator=generator)
    gradients = []
    for size in (6 * 2, 10_000):
        monkeypatch.setattr(head, "TILE_ELEMENTS", size)
        torch.autograd.backward(Head(weight, None, torch.bfloat16).logprobs(hidden, target).sum())
        gradients.append(weight.grad)
        weight.grad = None
    assert_close(gradients[0], gradients[1], atol=0.3, rtol=0.01)
