import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import KLEstimator
from worker.training.objectives.kl import KLController, estimate, k1, k2, k3, log_ratio


def test_k3_is_never_negative() -> None:
    logp, ref = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0)).double().unbind()
    assert (k3(logp, ref) >= 0).all()


def test_k1_and_k3_have_the_divergence_as_their_mean() -> None:
    policy, ref = tensor([0.5, 0.3, 0.2], dtype=torch.float64), tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    divergence = (policy * (policy / ref).log()).sum()
    assert_close((policy * log_ratio(policy.log(), ref.log())).sum(), divergence)
    assert_close((policy * k3(policy.log(), ref.log())).sum(), divergence)


def test_a_token_that_nobody_expected_stays_finite() -> None:
    assert torch.isfinite(k3(tensor(-1e4), tensor(0.0)))
    assert log_ratio(tensor(0.0), tensor(-float("inf"))) == 20


def _gradients(estimator: KLEstimator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the expected estimate with the samples held, and of the reverse and the forward divergence."""
    logits = tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    ref = tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    logp = logits.log_softmax(0)
    expected = (logp.exp().detach() * estimate(estimator, logp, ref.log())).sum()
    reverse, forward = (logp.exp() * (logp - ref.log())).sum(), (ref * (ref.log() - logp)).sum()
    return tuple(torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (expected, reverse, forward))  # type: ignore[return-value]


def test_the_gradient_of_k3_as_a_loss_is_the_forward_divergences() -> None:
    ours, _, forward = _gradients("k3")
    assert_close(ours, forward)


def test_the_gradient_of_k2_as_a_loss_is_the_reverse_divergences() -> None:
    ours, reverse, _ = _gradients("k2")
    assert_close(ours, reverse)


def test_k1_as_a_loss_has_no_gradient_on_average() -> None:
    assert_close(_gradients("k1")[0], torch.zeros(3, dtype=torch.float64))


def test_k1_and_k2_by_hand() -> None:
    logp, ref = tensor([-1.0]), tensor([-3.0])
    assert_close(k1(logp, ref), tensor([2.0]))
    assert_close(k2(logp, ref), tensor([2.0]))


def test_an_adaptive_coefficient_follows_the_divergence_at_most_a_fifth_a_horizon() -> None:
    controller = KLController(0.1, target=6.0, horizon=100)
    controller.observe(6.6, responses=50)  # 10 % over, for half a horizon
    assert controller.beta == pytest.approx(0.1 * 1.05)
    controller.observe(600.0, responses=100)
    assert controller.beta == pytest.approx(0.1 * 1.05 * 1.2)
    controller.observe(0.0, responses=100)
    assert controller.beta == pytest.approx(0.1 * 1.05 * 1.2 * 0.8)


def test_a_fixed_coefficient_stays() -> None:
    controller = KLController(0.1, target=None, horizon=100)
    controller.observe(600.0, responses=100)
    assert controller.beta == 0.1
