import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from worker.training.models import packing
from worker.training.models.logprobs import frozen_logprobs, predict
from worker.training.models.policy import Policy
from worker.training.sequences.batching import MicroBatch, Tokens

CPU = torch.device("cpu")
ROWS = [Tokens([1, 5, 9], [7, 3, 40, 41, 2]), Tokens([6], [8]), Tokens([1, 5, 9], [12, 13]), Tokens([4, 4], [3] * 9)]


@pytest.fixture(params=["padded", "packed"])
def either(request: pytest.FixtureRequest, policy: Policy) -> Policy:
    """The tiny policy, in one layout and in the other."""
    if request.param == "packed":
        packing.enable_if_supported(policy)
        assert MicroBatch(ROWS, CPU).inputs(packing=policy.packing).state
    return policy


def _distributions(policy: Policy, row: Tokens, temperature: float) -> Tensor:
    """log p of all words at each completion token [T, V], from the model's own logits of one sequence."""
    logits: Tensor = policy.model(input_ids=torch.tensor([row.prompt + row.completion])).logits[0]
    first = len(row.prompt) - 1
    return (logits[first:-1] / temperature).log_softmax(-1)


def test_log_probs_and_entropies_are_those_of_the_models_logits(either: Policy) -> None:
    predicted = predict(either, MicroBatch(ROWS, CPU), temperature=0.7, entropy=True)
    assert predicted.entropy_BT is not None
    for index, row in enumerate(ROWS):
        logp_TV = _distributions(either, row, 0.7)
        length = len(row.completion)
        expected = logp_TV[torch.arange(length), torch.tensor(row.completion)]
        assert_close(predicted.logp_BT[index, :length], expected, atol=1e-5, rtol=1e-5)
        entropy = -(logp_TV.exp() * logp_TV).sum(-1)
        assert_close(predicted.entropy_BT[index, :length], entropy, atol=1e-5, rtol=1e-5)
        assert not predicted.logp_BT[index, length:].any() and not predicted.entropy_BT[index, length:].any()


def test_the_gradient_is_that_of_the_models_logits(either: Policy) -> None:
    weights = list(either.model.parameters())
    ours = torch.autograd.grad(predict(either, MicroBatch(ROWS, CPU), 0.7).logp_BT.sum(), weights)
    sums = [_distributions(either, row, 0.7).gather(1, torch.tensor(row.completion)[:, None]).sum() for row in ROWS]
    assert_close(ours, torch.autograd.grad(torch.stack(sums).sum(), weights), atol=1e-5, rtol=1e-5)


def test_frozen_log_probs_do_not_depend_on_the_budget_and_need_no_gradient(either: Policy) -> None:
    whole = frozen_logprobs(either, ROWS, 0.7, budget=1000)
    assert_close(frozen_logprobs(either, ROWS, 0.7, budget=8), whole, atol=1e-5, rtol=1e-5)
    assert_close(whole, predict(either, MicroBatch(ROWS, CPU), 0.7).logp_BT.detach(), atol=1e-6, rtol=0)
    assert not whole.requires_grad


def test_unlearned_tokens_are_0_and_change_no_other(either: Policy) -> None:
    marked = [row._replace(loss_mask=[place % 2 == 0 for place in range(len(row.completion))]) for row in ROWS]
    whole, some = (predict(either, MicroBatch(rows, CPU)).logp_BT for rows in (ROWS, marked))
    assert_close(some, whole * MicroBatch(marked, CPU).mask_BT, atol=1e-6, rtol=0)


def test_rows_of_which_nothing_is_learned_have_no_gradient(either: Policy) -> None:
    unlearned = [row._replace(loss_mask=[False] * len(row.completion)) for row in ROWS]
    torch.autograd.backward(predict(either, MicroBatch(unlearned, CPU)).logp_BT.sum())
    assert not any(weight.grad is not None and weight.grad.any() for weight in either.model.parameters())
