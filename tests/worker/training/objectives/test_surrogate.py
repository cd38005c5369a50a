import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import GRPOSpec
from worker.training.models.logprobs import Predicted
from worker.training.objectives.surrogate import Batch, clipped, ratio, regularized


def test_the_clip_stops_the_gradient_only_where_it_would_go_further() -> None:
    rho = tensor([[1.65], [1.65], [0.61], [0.61]], requires_grad=True)
    surrogate, stopped = clipped(rho, tensor([[1.0], [-1.0], [1.0], [-1.0]]), GRPOSpec())
    (gradient,) = torch.autograd.grad(surrogate.sum(), rho)
    assert (gradient[:, 0] != 0).tolist() == [False, True, True, False]
    assert stopped[:, 0].tolist() == [True, False, False, True]


def test_the_upper_clip_can_differ() -> None:
    surrogate, _ = clipped(tensor([[2.0]]), tensor([[1.0]]), GRPOSpec(clip_eps_high=0.5))
    assert_close(surrogate, tensor([[1.5]]))


def test_the_dual_clip_bounds_what_a_bad_response_can_cost() -> None:
    rho, advantage = tensor([[2.0, 5.0, 5.0]], requires_grad=True), tensor([[-1.0, -1.0, 1.0]])
    surrogate, stopped = clipped(rho, advantage, GRPOSpec(dual_clip=3.0))
    assert_close(surrogate.detach(), tensor([[-2.0, -3.0, 1.2]]))
    assert stopped.tolist() == [[False, True, True]]
    assert torch.autograd.grad(surrogate.sum(), rho)[0].tolist() == [[-1.0, 0.0, 0.0]]


def test_a_sequence_has_the_geometric_mean_of_its_tokens_ratios() -> None:
    logp, old = tensor([[0.3, 0.1, 9.0]]), tensor([[0.0, 0.0, 0.0]])
    rho = ratio(logp, old, tensor([[1.0, 1.0, 0.0]]), "sequence")
    assert_close(rho, tensor([[0.2, 0.2, 0.2]]).exp())


def test_a_token_that_nobody_expected_stays_finite() -> None:
    assert torch.isfinite(ratio(tensor([[0.0]]), tensor([[-1e4]]), torch.ones(1, 1), "token")).all()


def _batch(logp: torch.Tensor, ref: torch.Tensor, entropy: torch.Tensor | None = None, beta: float = 0.5) -> Batch:
    return Batch(Predicted(logp, entropy), logp.detach(), ref, torch.ones_like(logp), beta)


def test_the_kl_term_pulls_toward_the_reference() -> None:
    logp = tensor([[-1.0]], requires_grad=True)
    loss, values = regularized(torch.zeros(1, 1), torch.ones(1, 1), _batch(logp, tensor([[-2.0]])), GRPOSpec())
    assert_close(values["policy/kl"].detach(), tensor([[torch.e**-1.0 + 1 - 1]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    assert_close(gradient, tensor([[0.5 * (1 - torch.e**-1.0)]]))  # descent lowers logp, as the reference would


def test_corrected_by_the_ratio_its_gradient_is_the_reverse_divergences() -> None:
    logits = tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    ref = tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    logp = logits.log_softmax(0)
    batch = _batch(logp, ref.log(), beta=1.0)
    rho = (logp - logp.detach()).exp()
    loss, _ = regularized(torch.zeros_like(logp), rho, batch, GRPOSpec(kl_ratio_correction=True))
    reverse = (logp.exp() * (logp - ref.log())).sum()
    ours = torch.autograd.grad((logp.exp().detach() * loss).sum(), logits, retain_graph=True)
    assert_close(ours, torch.autograd.grad(reverse, logits))


def test_the_entropy_bonus_is_taken_off_the_loss() -> None:
    logp = tensor([[-1.0]])
    batch = _batch(logp, logp, entropy=tensor([[2.0]]))
    loss, _ = regularized(torch.zeros(1, 1), torch.ones(1, 1), batch, GRPOSpec(entropy_coef=0.1))
    assert_close(loss, tensor([[-0.2]]))
