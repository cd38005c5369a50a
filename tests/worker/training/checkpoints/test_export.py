"""A checkpoint's export has the dtype that people use; training and later jobs go on with what was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from hone.documents.checkpoints import CheckpointFile, exported
from service.storage import manifest
from worker.protocol import Assignment, Saved, Warned
from worker.training import loop
from worker.training.checkpoints.export import CARD
from worker.training.models import tiny
from worker.training.models.files import TRAINED
from worker.training.models.policy import load_policy

Assign = Callable[..., Assignment]
CPU = torch.device("cpu")
MODEL = "model.safetensors"


@pytest.fixture
def bf16_base(tmp_path: Path) -> str:
    """The tiny model as many are published."""
    model, tokenizer = tiny.build(0)
    model.bfloat16().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def _saved(assignment: Assignment) -> list[Path]:
    return [Path(event.directory) for event in loop.run(assignment, lambda: None) if isinstance(event, Saved)]


def _dtypes(file: Path) -> set[torch.dtype]:
    return {weight.dtype for weight in load_file(file).values()}


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def test_an_export_has_the_dtype_of_its_base_or_the_one_that_is_asked_for(assign: Assign, bf16_base: str) -> None:
    (folder,) = _saved(assign("sft", model_path=bf16_base, steps=1))
    assert _dtypes(folder / MODEL) == {torch.bfloat16}
    for name, dtype in DTYPES.items():
        (folder,) = _saved(assign("sft", model_path=bf16_base, steps=1, export={"dtype": name}))
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        assert _dtypes(folder / MODEL) == {dtype} == {loaded.dtype}
        assert (folder / TRAINED).exists() == (name != "fp32")
    (folder,) = _saved(assign("sft", steps=1))  # from `tiny`, which is fp32
    assert _dtypes(folder / MODEL) == {torch.float32}


def test_an_export_is_what_was_trained_rounded_once(assign: Assign, bf16_base: str) -> None:
    (folder,) = _saved(assign("sft", model_path=bf16_base, steps=2))
    trained, given = load_file(folder / TRAINED / MODEL), load_file(folder / MODEL)
    assert trained.keys() == given.keys()  # the head, tied to the embedding, is in neither
    assert all(torch.equal(given[name], weight.bfloat16()) for name, weight in trained.items())
    assert not all(torch.equal(weight, weight.bfloat16().float()) for weight in trained.values())


def test_a_later_job_starts_from_what_was_trained(assign: Assign, bf16_base: str) -> None:
    (folder,) = _saved(assign("sft", model_path=bf16_base, steps=2))
    policy = load_policy(str(folder), 0, CPU, "fp32")
    trained, ours = load_file(folder / TRAINED / MODEL), policy.model.state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in trained.items())
    assert policy.facts is not None and policy.facts.dtype == "bfloat16"  # so its own export is bf16 again


@pytest.mark.parametrize(("algorithm", "changes"), [("sft", {}), ("sft", {"lora": {"rank": 2}}), ("ppo", {})])
def test_resuming_is_bit_exact_whatever_the_export(
    algorithm: str, changes: dict[str, Any], assign: Assign, bf16_base: str
) -> None:
    def files(resume_from: str | None) -> list[Path]:
        job = assign(algorithm, model_path=bf16_base, resume_from=resume_from, checkpoint={"every": 1}, steps=2)
        return _saved(job.model_copy(update={"spec": job.spec | changes}))

    first, whole = files(None)
    resumed = files(str(first))[-1]
    assert _weights(resumed) == _weights(whole)
    assert _dtypes(resumed / MODEL) == {torch.bfloat16}


def _weights(folder: Path) -> dict[str, str]:
    return {entry["name"]: entry["sha256"] for entry in manifest.read(folder) if entry["name"].endswith(".safetensors")}


def test_weights_that_fp16_cannot_hold_are_exported_in_fp32(assign: Assign, bf16_base: str) -> None:
    def enlarge(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return weights | {"model.norm.weight": weights["model.norm.weight"] * 1e5}

    model: Any = AutoModelForCausalLM.from_pretrained(bf16_base, dtype=torch.bfloat16)
    model.save_pretrained(bf16_base, state_dict=enlarge(model.state_dict()))
    events = list(loop.run(assign("sft", model_path=bf16_base, steps=1, export={"dtype": "fp16"}), lambda: None))
    (saved,) = [event for event in events if isinstance(event, Saved)]
    assert _dtypes(Path(saved.directory) / MODEL) == {torch.float32}
    [note] = [event.note for event in events if isinstance(event, Warned) and event.note.param == "export.dtype"]
    assert note.message == "export.dtype is fp16, but float16 cannot hold the largest weights: it is float32"
    assert note.last_step == 1


def test_what_is_pulled_is_the_model_and_nothing_of_its_training(assign: Assign, bf16_base: str) -> None:
    folder = _saved(assign("ppo", model_path=bf16_base, steps=1, lora={"rank": 2}))[-1]
    files = [CheckpointFile.model_validate(entry) for entry in manifest.read(folder)]
    pulled = exported(files)
    assert {file.name for file in pulled} == {
        "README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    left = {file.name.split("/")[0] for file in files} - {file.name.split("/")[0] for file in pulled}
    assert left == {"trainer.pt", "critic.safetensors", TRAINED}
    size = {file.name: file.bytes for file in files}
    assert size[MODEL] < 0.51 * size[f"{TRAINED}/{MODEL}"]


def test_the_card_says_what_the_model_is(assign: Assign) -> None:
    assignment = assign("sft", model="org/base", name="sums", steps=3, tags={"team": "secret"}, lora={"rank": 4})
    (folder,) = _saved(assignment.model_copy(update={"models": {"org/base": "tiny"}}))
    _, front, text = (folder / CARD).read_text().split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == "org/base"
    assert "# sums" in text and "Step 3 of 3 of a job of type `sft`, from `org/base`" in text
    assert "low-rank adapters" in text and "rank: 4" in text and "The weights are float32" in text
    assert "train/loss" in text and "from_pretrained" in text
    assert "type: sft" in text and "source: linear-algebra" in text
    assert "secret" not in text
