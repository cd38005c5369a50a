import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from hone.errors import Invalid
from service.domain.specs import JobSpec, LoRASpec, OptimizerSpec
from worker.protocol import Assignment, Event, Saved, Step
from worker.training import loop
from worker.training.checkpoints import checkpoint
from worker.training.checkpoints.checkpoint import Snapshot
from worker.training.models import lora, tiny
from worker.training.models.policy import Policy, load_policy
from worker.training.updates.optim import Learner

CPU = torch.device("cpu")
INPUT_BL = torch.tensor([[5, 9, 30, 31], [8, 8, 7, 6]])
EMBEDDING: dict[str, Any] = {"modules_to_save": ["embed_tokens"]}
SPEC = JobSpec.model_validate({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "lora": {}})
Assign = Callable[..., Assignment]
peft_asks_transformers_what_is_deprecated = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def _adapted(policy: Policy, *, move: bool = True, **fields: Any) -> Policy:
    """With adapters that do something, unless they are left as they start."""
    spec = LoRASpec(rank=4, **fields)
    policy.adapters = lora.inject(policy.model, spec, seed=1, dtype=policy.dtype)
    generator = torch.Generator().manual_seed(0)
    for weight in _trained(policy).values() if move else ():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return policy


def _trained(policy: Policy) -> dict[str, Any]:
    return {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def _logits(policy: Policy) -> Tensor:
    with policy.autocast():
        hidden_BLH = policy.hidden(INPUT_BL)
    return policy.head.logits(hidden_BLH)


def _exported(policy: Policy, folder: Path) -> Path:
    return checkpoint.save(folder, Snapshot(1, policy, {}, {}, {}, {}, SPEC))


def _gpt2(folder: Path) -> Policy:
    words = tiny.build_tokenizer()
    config = GPT2Config(
        vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_positions=32, eos_token_id=1, bos_token_id=1
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return load_policy(str(folder), 0, CPU, "fp32")


def test_new_adapters_change_nothing_and_are_all_that_is_trained(policy: Policy) -> None:
    before, frozen = _logits(policy), dict(policy.model.named_parameters())
    _adapted(policy, move=False)
    assert torch.equal(_logits(policy), before)
    assert {name.split(".")[-3] for name in _trained(policy)} == {"lora_A", "lora_B"}
    learner = Learner(policy.model, 1e-3, OptimizerSpec(), 10)
    policy.hidden(INPUT_BL).square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None for weight in frozen.values())
    assert sum(len(group["params"]) for group in learner.optimizers[0].param_groups) == len(_trained(policy))


def test_null_targets_are_all_linear_layers_but_the_head(policy: Policy) -> None:
    _adapted(policy)
    adapted = {name.split(".")[-4] for name in _trained(policy)}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_adapters_are_a_function_of_the_seed() -> None:
    first, second, third = (load_policy("tiny", 0, CPU, "fp32") for _ in range(3))
    for policy, seed in ((first, 1), (second, 1), (third, 2)):
        lora.inject(policy.model, LoRASpec(rank=2), seed, policy.dtype)
        torch.rand(1)  # whatever the caller's random state is
    weights = [_trained(policy) for policy in (first, second, third)]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert any(not torch.equal(weight, weights[2][name]) for name, weight in weights[0].items())


def test_the_scale_is_alpha_over_rank_or_over_its_root(policy: Policy) -> None:
    _adapted(policy, alpha=6.0, use_rslora=True, target_modules=["q_proj"])
    layer: Any = policy.model.get_submodule("model.layers.0.self_attn.q_proj")
    x = torch.randn(3, 96)
    low = x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    assert_close(layer(x), layer.base_layer(x) + 6 / 4**0.5 * low)


@pytest.mark.parametrize("fields", [{}, EMBEDDING, {"modules_to_save": ["lm_head", "norm"]}])
def test_without_adapters_the_policy_is_its_first_self_in_the_same_memory(
    policy: Policy, fields: dict[str, Any]
) -> None:
    before = _logits(policy)
    reference = _adapted(policy, **fields).without_adapters()
    after = _logits(policy)
    assert torch.equal(_logits(reference), before)
    assert torch.equal(_logits(policy), after)
    assert not torch.equal(before, after)
    assert reference.model is policy.model
    assert all(weight.requires_grad for weight in _trained(policy).values())


@peft_asks_transformers_what_is_deprecated
@pytest.mark.parametrize("fields", [{}, EMBEDDING, {"modules_to_save": ["layers.0.mlp"], "use_rslora": True}])
def test_an_export_is_what_the_policy_computes_for_transformers_and_for_peft(
    policy: Policy, tmp_path: Path, fields: dict[str, Any]
) -> None:
    from peft import PeftModel

    policy.model.save_pretrained(tmp_path / "start")
    _adapted(policy, **fields)
    live = {name: weight.clone() for name, weight in policy.model.named_parameters()}
    path = _exported(policy, tmp_path)
    merged: Any = AutoModelForCausalLM.from_pretrained(path)
    start: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    on_top: Any = PeftModel.from_pretrained(start, path / "adapter")
    for other in (merged, on_top.eval()):
        assert_close(other(input_ids=INPUT_BL).logits, _logits(policy))
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    assert all(torch.equal(weight, live[name]) for name, weight in policy.model.named_parameters())


@peft_asks_transformers_what_is_deprecated
def test_gpt2_whose_matrices_lie_the_other_way_is_adapted_and_exported(tmp_path: Path) -> None:
    from peft import PeftModel

    policy = _adapted(_gpt2(tmp_path / "start"), modules_to_save=["wte"])
    assert any("c_attn" in name for name in _trained(policy))
    path = _exported(policy, tmp_path)
    merged: Any = AutoModelForCausalLM.from_pretrained(path)
    start: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    on_top: Any = PeftModel.from_pretrained(start, path / "adapter")
    for other in (merged, on_top.eval()):
        assert_close(other(input_ids=INPUT_BL).logits, _logits(policy))


def test_adapters_come_back_bit_for_bit_and_only_onto_the_weights_that_they_belong_to(
    policy: Policy, tmp_path: Path
) -> None:
    path = _exported(_adapted(policy, **EMBEDDING), tmp_path)
    again = _adapted(load_policy("tiny", 0, CPU, "fp32"), **EMBEDDING)
    assert again.adapters is not None
    again.adapters.load(path / "adapter")
    weights = _trained(again)
    assert all(torch.equal(weight, weights[name]) for name, weight in _trained(policy).items())
    other = _adapted(load_policy("tiny", 5, CPU, "fp32"), **EMBEDDING)
    assert other.adapters is not None
    with pytest.raises(Invalid, match="has changed") as refusal:
        other.adapters.load(path / "adapter")
    assert refusal.value.param == "model"


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"target_modules": ["q_prj"]}, "target_modules", "no layer 'q_prj', only .*q_proj"),
        ({"target_modules": ["lm_head"]}, "target_modules", "'lm_head' is no linear layer before the head"),
        ({"target_modules": ["embed_tokens"]}, "target_modules", "name it in lora.modules_to_save"),
        ({"target_modules": ["up_proj"], "modules_to_save": ["mlp"]}, "target_modules", "name it in one"),
        ({"modules_to_save": ["head"]}, "modules_to_save", "no layer 'head'"),
        ({"modules_to_save": ["self_attn", "mlp"]}, "modules_to_save", "leaves no linear layer"),
    ],
)
def test_layers_that_do_not_take_what_they_are_to_get_are_refused(
    policy: Policy, fields: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Invalid, match=reason) as refusal:
        lora.inject(policy.model, LoRASpec(**fields), 0, policy.dtype)
    assert refusal.value.param == f"lora.{field}"


def test_frozen_matrices_are_held_in_bf16_where_that_loses_nothing(tmp_path: Path) -> None:
    published: Any = load_policy("tiny", 0, CPU, "fp32").model
    published.to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.build_tokenizer().save_pretrained(tmp_path)
    plain, policy = (load_policy(str(tmp_path), 0, CPU, "bf16") for _ in range(2))
    _adapted(policy, move=False)
    layer: Any = policy.model.get_submodule("model.layers.0.self_attn.q_proj")
    assert layer.base_layer.weight.dtype == torch.bfloat16
    assert all(weight.dtype == torch.float32 for weight in _trained(policy).values())
    assert torch.equal(_logits(policy), _logits(plain))
    merged = dict(policy.weights())
    assert all(torch.equal(merged[name], weight) for name, weight in plain.model.named_parameters())
    rounded = _adapted(load_policy("tiny", 0, CPU, "bf16"), move=False)
    assert all(weight.dtype == torch.float32 for weight in rounded.model.parameters())


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("sft", {"lora": {"rank": 2, **EMBEDDING}}),
        ("grpo", {"lora": {"rank": 2}, "algorithm_changes": {"beta": 0.1}}),
        ("grpo", {"lora": {"rank": 2}, "algorithm_changes": {"beta": 0.1, "ref_sync_steps": 1}, "steps": 2}),
        ("ppo", {"lora": {"rank": 2}, "optimizer": {"type": "muon", "learning_rate": 1e-3}, "steps": 2}),
        ("reward_model", {"lora": {"rank": 2}, "dataset": {"source": "file-pairs"}, "steps": 2}),
    ],
)
def test_resuming_with_adapters_ends_in_the_same_bits_as_never_stopping(
    assign: Assign, tmp_path: Path, algorithm: str, changes: dict[str, Any]
) -> None:
    changes = {"steps": 4, **changes}
    changes["checkpoint"] = {"every": changes["steps"] // 2}
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{row}", "chosen": f"{row + 1}", "rejected": f"{row - 1}"} for row in range(9)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(resume_from: str | None = None) -> list[Event]:
        assignment = assign(algorithm, resume_from=resume_from, **changes)
        return list(loop.run(assignment.model_copy(update={"files": {"file-pairs": str(pairs)}}), lambda: None))

    whole = run()
    middle, end = (event for event in whole if isinstance(event, Saved))
    rest = run(middle.directory)
    _, end_again = (event for event in rest if isinstance(event, Saved))
    assert _saved(Path(end.directory)) == _saved(Path(end_again.directory))
    assert _saved(Path(end.directory)) != _saved(Path(middle.directory))
    steps = [event.metrics["train/loss"] for event in whole if isinstance(event, Step)]
    assert [event.metrics["train/loss"] for event in rest if isinstance(event, Step)] == steps[len(steps) // 2 :]


def _saved(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds of numbers, as bytes."""
    optimizers = torch.load(path / "trainer.pt")["optimizers"]
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.safetensors")}
    return files | {"optimizers": json.dumps(optimizers, default=lambda tensor: tensor.tolist())}
