import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hone.errors import Invalid
from service.domain.specs import LoRASpec
from worker.training.decoding.generate import Sampling, generate
from worker.training.models import lora
from worker.training.models.logprobs import predict
from worker.training.models.policy import Policy, Precision, load_policy
from worker.training.models.recompute import recompute
from worker.training.policy_optimization.critic import Critic
from worker.training.sequences.batching import MicroBatch, Tokens

CPU = torch.device("cpu")
ROWS = [Tokens([1, 5, 9], list(range(10, 40))), Tokens([6], list(range(40, 80)))]


def _passed(policy: Policy) -> tuple[Tensor, list[Tensor], int]:
    """Log-probabilities, the gradient of their sum, and the bytes that were kept for it beside the weights."""
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logp_BT = predict(policy, MicroBatch(ROWS, CPU)).logp_BT
    gradient = torch.autograd.grad(logp_BT.sum(), weights)
    own = {weight.untyped_storage().data_ptr() for weight in policy.model.parameters()}
    return logp_BT.detach(), list(gradient), sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("adapters", [False, True])
def test_recomputing_keeps_less_and_changes_nothing(precision: Precision, adapters: bool) -> None:
    policy = load_policy("tiny", 0, CPU, precision)
    if adapters:
        policy.adapters = lora.inject(policy.model, LoRASpec(rank=2), 0, policy.dtype)
    logp, gradient, kept = _passed(policy)
    recompute(policy.model)
    logp_again, gradient_again, kept_again = _passed(policy)
    assert torch.equal(logp, logp_again)
    assert all(torch.equal(*pair) for pair in zip(gradient, gradient_again, strict=True))
    assert kept_again < kept / 4


def test_sampling_and_copies_are_left_alone(policy: Policy) -> None:
    sampling = Sampling(max_tokens=6, generations=2)
    before = generate(policy, [[1, 5], [7]], sampling)
    whole = copy.deepcopy(policy.model)
    recompute(policy.model)
    after = generate(policy, [[1, 5], [7]], sampling)
    assert before.sequences == after.sequences
    assert torch.equal(before.logp_BC, after.logp_BC)
    twin = copy.deepcopy(policy.model)
    nn.init.zeros_(policy.model.get_submodule("model.layers.0.mlp.up_proj").weight)  # type: ignore[arg-type]
    ids = torch.tensor([[1, 5, 7]])
    assert torch.equal(twin(input_ids=ids).logits, whole(input_ids=ids).logits)


def test_a_model_without_layers_to_recompute_is_refused() -> None:
    with pytest.raises(Invalid, match="set it to false") as refusal:
        recompute(nn.Linear(2, 2))
    assert refusal.value.param == "gradient_checkpointing"


def test_the_eachrecomputes_too(make_setup: Any) -> None:
    from worker.training.policy_optimization import critic

    plain, frugal = (critic.build(make_setup("ppo", gradient_checkpointing=on), None) for on in (False, True))
    for each in (plain, frugal):
        nn.init.ones_(each.head.weight)
        torch.autograd.backward(each(MicroBatch(ROWS, CPU)).square().sum())
    weights = dict(frugal.named_parameters())
    for name, weight in plain.named_parameters():
        assert weight.grad is not None and torch.equal(weight.grad, weights[name].grad)  # type: ignore[arg-type]
    assert isinstance(frugal, Critic) and type(frugal.backbone.layers[0]) is not type(plain.backbone.layers[0])  # type: ignore[index]
