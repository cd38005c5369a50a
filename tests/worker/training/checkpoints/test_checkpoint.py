import copy
import errno
import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from service.domain.specs import JobSpec, LoRASpec, OptimizerSpec
from service.storage import manifest
from worker.training.checkpoints import checkpoint
from worker.training.checkpoints.checkpoint import Snapshot
from worker.training.models import lora
from worker.training.models.policy import Policy
from worker.training.updates.optim import Learner

Learners = dict[str, Learner]
SPEC = JobSpec.model_validate({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})


@pytest.fixture
def learners(policy: Policy) -> Learners:
    return {"policy": Learner(policy.model, 1e-3, OptimizerSpec(), 10)}


def _save(folder: Path, policy: Policy, learners: Learners, step: int = 1, **parts: Any) -> Path:
    empty: dict[str, Any] = {"modules": {}, "state": {}, "metrics": {}, "spec": SPEC}
    return checkpoint.save(folder, Snapshot(step, policy, learners, **empty | parts))


def _move(learner: Learner) -> None:
    for weight in learner.module.parameters():
        if weight.grad is not None:
            weight.grad.normal_(generator=torch.Generator().manual_seed(weight.numel()))
    learner.move(0, learner.norm())


def test_the_export_loads_with_transformers(policy: Policy, learners: Learners, tmp_path: Path) -> None:
    path = _save(tmp_path, policy, learners, step=100)
    assert path.name == "step-00000100"
    before: Any = policy.model
    after: Any = AutoModelForCausalLM.from_pretrained(path)
    words = AutoTokenizer.from_pretrained(path)
    prompt = words(["det [[1,2],[3,4]]"], return_tensors="pt")
    ours = before.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert torch.equal(after.generate(**prompt, max_new_tokens=5, do_sample=False), ours)
    assert after.lm_head.weight is after.model.embed_tokens.weight


def test_state_comes_back_as_it_was(policy: Policy, learners: Learners, tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "tensor": torch.tensor([[1.5, -0.0], [float("inf"), 3e-45]]),
        "bits": torch.tensor([True, False]),
        "nested": {"list": [1, 2.5, None, "word", [torch.tensor(7)]], "flag": False, 3: "a number as key"},
        "pair": (1, 2),
    }
    path = _save(tmp_path, policy, learners, step=7, state=state, metrics={"train/loss": 0.1 + 0.2})
    restored = checkpoint.restore(path, learners, {})
    assert (restored.step, restored.metrics) == (7, {"train/loss": 0.1 + 0.2})
    assert torch.equal(restored.state["tensor"], state["tensor"]) and torch.equal(restored.state["bits"], state["bits"])
    assert repr(restored.state) == repr(state)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_beside_the_policy_and_all_optimizers_come_back(policy: Policy, tmp_path: Path, kind: str) -> None:
    def learning(seed: int) -> tuple[Learners, dict[str, nn.Module]]:
        torch.manual_seed(seed)
        critic, reference = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)), nn.Linear(3, 3)
        spec = OptimizerSpec.model_validate({"type": kind})
        moved = {
            "policy": Learner(copy.deepcopy(policy.model), 1e-3, spec, 10),
            "critic": Learner(critic, 1e-3, spec, 10),
        }
        return moved, {"reference": reference}

    moved, modules = learning(0)
    for learner in moved.values():
        _move(learner)
    path = _save(tmp_path, policy, moved, modules=modules)
    again, modules_again = learning(1)
    checkpoint.restore(path, again, modules_again)
    ours, theirs = (_tensors([learner.state() for learner in each.values()]) for each in (again, moved))
    assert len(ours) > 20 and all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    _same(again["critic"].module, moved["critic"].module)
    _same(modules_again["reference"], modules["reference"])


def _tensors(tree: Any) -> list[torch.Tensor]:
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tree] if isinstance(tree, torch.Tensor) else [tensor for part in parts for tensor in _tensors(part)]


def _same(ours: nn.Module, theirs: nn.Module) -> None:
    assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_manifest_describes_every_file(policy: Policy, learners: Learners, tmp_path: Path) -> None:
    policy.adapters = lora.inject(policy.model, LoRASpec(rank=1), 0, policy.dtype)
    path = _save(tmp_path, policy, {})
    described = json.loads((path / "manifest.json").read_text())
    there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} - {"manifest.json"}
    assert {entry["name"] for entry in described["files"]} == there
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "model.safetensors"} <= there
    manifest.verify(path)


def test_a_damaged_checkpoint_is_refused(policy: Policy, learners: Learners, tmp_path: Path) -> None:
    path = _save(tmp_path, policy, learners)
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "model.safetensors").write_bytes(weights)
    with pytest.raises(OSError, match=r"step-00000001 is damaged: model\.safetensors"):
        manifest.verify(path)
    (path / "manifest.json").unlink()
    with pytest.raises(OSError, match=r"no readable manifest\.json"):
        manifest.verify(path)


@pytest.mark.parametrize("limit", [1000, 100_000, 2_000_000])  # within the tokenizer, the weights, the optimizer
def test_a_torn_checkpoint_is_never_visible(policy: Policy, learners: Learners, tmp_path: Path, limit: int) -> None:
    _move(learners["policy"])  # so that the optimizer has something to write
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # writing more than that into one file fails
    try:
        with pytest.raises(OSError, match="while writing checkpoint step 40") as error:
            _save(tmp_path, policy, learners, step=40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert error.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_attempt_left_half_written_does_not_matter(
    policy: Policy, learners: Learners, tmp_path: Path
) -> None:
    attempt = tmp_path / "attempt-2"
    junk = attempt / ".step-00000001.attempt-2.partial" / "junk"
    junk.parent.mkdir(parents=True)
    junk.touch()
    manifest.verify(_save(attempt, policy, learners))
    assert [path.name for path in attempt.iterdir()] == ["step-00000001"]
