import errno
import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from service.domain.specs import OptimizerSpec
from worker.training import checkpoint
from worker.training.models import Policy
from worker.training.optim import Learner


@pytest.fixture
def learners(policy: Policy) -> dict[str, Learner]:
    return {"policy": Learner(policy.model, 1e-3, OptimizerSpec(), 10)}


def test_the_export_loads_with_transformers(policy: Policy, learners: dict[str, Learner], tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 100, policy, learners, {"eval/accuracy": 0.5})
    assert path.name == "step-00000100"
    before: Any = policy.model
    after: Any = AutoModelForCausalLM.from_pretrained(path)
    words = AutoTokenizer.from_pretrained(path)
    prompt = words(["det [[1,2],[3,4]]"], return_tensors="pt")
    ours = before.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert torch.equal(after.generate(**prompt, max_new_tokens=5, do_sample=False), ours)


def test_the_manifest_describes_every_file(policy: Policy, learners: dict[str, Learner], tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, policy, learners, {})
    manifest = json.loads((path / "manifest.json").read_text())
    assert {entry["name"] for entry in manifest["files"]} == {file.name for file in path.iterdir()} - {"manifest.json"}
    checkpoint.verify(path)


def test_a_damaged_checkpoint_is_refused(policy: Policy, learners: dict[str, Learner], tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, policy, learners, {})
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "model.safetensors").write_bytes(weights)
    with pytest.raises(OSError, match=r"step-00000001 is damaged: model\.safetensors"):
        checkpoint.verify(path)
    (path / "manifest.json").unlink()
    with pytest.raises(OSError, match=r"no readable manifest\.json"):
        checkpoint.verify(path)


@pytest.mark.parametrize("limit", [100_000, 2_000_000])  # within the weights, and within the optimizer
def test_a_torn_checkpoint_is_never_visible(
    policy: Policy, learners: dict[str, Learner], tmp_path: Path, limit: int
) -> None:
    learners["policy"].update(0)  # so that the optimizer has something to write
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # writing more than that into one file fails
    try:
        with pytest.raises(OSError, match="while writing checkpoint step 40") as error:
            checkpoint.save(tmp_path, 40, policy, learners, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert error.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_attempt_left_half_written_does_not_matter(
    policy: Policy, learners: dict[str, Learner], tmp_path: Path
) -> None:
    (tmp_path / ".step-00000001.partial").mkdir()
    (tmp_path / ".step-00000001.partial" / "junk").touch()
    checkpoint.verify(checkpoint.save(tmp_path, 1, policy, learners, {}))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
