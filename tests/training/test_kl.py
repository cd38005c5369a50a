import torch
from torch import tensor
from torch.testing import assert_close

from worker.training.kl import k3, log_ratio


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
