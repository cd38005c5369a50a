import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import ImportanceSamplingSpec
from worker.training.algorithms.importance_sampling import ImportanceSamplingObjective
from worker.training.models.logprobs import Predicted
from worker.training.objectives.surrogate import Batch

OLD = torch.log(tensor([[0.5, 0.4], [0.2, 0.9]]))
NOW = torch.log(tensor([[0.25, 0.8], [0.4, 0.3]]))
MASK = tensor([[1.0, 1.0], [1.0, 0.0]])


def _batch(logp: torch.Tensor) -> Batch:
    return Batch(Predicted(logp, None), OLD, None, MASK, 0.0)


def test_a_response_is_weighted_by_the_product_of_its_tokens_ratios() -> None:
    loss, values = ImportanceSamplingObjective(ImportanceSamplingSpec()).token_losses(
        _batch(NOW), tensor([[3.0], [1.0]])
    )
    assert_close(loss, tensor([[-3.0, -3.0], [-2.0, -2.0]]))  # 0.5 * 2 and 2
    assert_close(values["policy/ratio"], tensor([[1.0, 1.0], [2.0, 2.0]]))


def test_the_factorised_form_weights_each_token_by_its_own() -> None:
    spec = ImportanceSamplingSpec(importance_level="token")
    loss, _ = ImportanceSamplingObjective(spec).token_losses(_batch(NOW), tensor([[3.0], [1.0]]))
    assert_close(loss * MASK, tensor([[-1.5, -6.0], [-2.0, 0.0]]))


def test_on_policy_both_forms_have_reinforces_gradient() -> None:
    for level, share in (("token", tensor([[1.0, 1.0], [1.0, 0.0]])), ("sequence", tensor([[0.5, 0.5], [1.0, 0.0]]))):
        logp = OLD.clone().requires_grad_()
        spec = ImportanceSamplingSpec.model_validate({"importance_level": level})
        loss, _ = ImportanceSamplingObjective(spec).token_losses(_batch(logp), tensor([[3.0], [1.0]]))
        (gradient,) = torch.autograd.grad((loss * MASK * share).sum(), logp)
        assert_close(gradient, tensor([[-3.0, -3.0], [-1.0, 0.0]]))
