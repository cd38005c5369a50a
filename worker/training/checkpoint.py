"""A checkpoint exists whole or not at all: written beside, synced, renamed, and described by a manifest of hashes.

`step-00000100/` holds what transformers loads (config, safetensors, tokenizer), one safetensors file for each further
module (`critic.safetensors`), `trainer.pt` (optimizers, step, metrics) and `manifest.json`. Together with seed and step
these are all that the next step depends on.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from worker.training.models import Policy
from worker.training.optim import Learner

MANIFEST, TRAINER = "manifest.json", "trainer.pt"


def save(directory: Path, step: int, policy: Policy, learners: dict[str, Learner], metrics: dict[str, float]) -> Path:
    """Write the checkpoint of `step` below `directory`; OSError names the step and leaves nothing behind."""
    final = directory / f"step-{step:08d}"
    partial = directory / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _naming(step):
            partial.mkdir(parents=True)
            _write(partial, step, policy, learners, metrics)
            _sync(partial)
            shutil.rmtree(final, ignore_errors=True)  # a torn or outdated one of an earlier attempt
            partial.rename(final)
            _sync_path(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def restore(path: Path, learners: dict[str, Learner]) -> tuple[int, dict[str, float]]:
    """Put optimizers and further modules back (the policy is loaded like any model); returns step and metrics."""
    state = torch.load(path / TRAINER, map_location="cpu", weights_only=True)
    for name, learner in learners.items():
        if name != "policy":
            load_model(learner.module, path / f"{name}.safetensors")
        learner.optimizer.load_state_dict(state["optimizers"][name])
    return int(state["step"]), dict(state["metrics"])


def verify(path: Path) -> None:
    """OSError unless every file is there as the manifest describes it."""
    try:
        described = json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise OSError(errno.EIO, f"checkpoint {path.name} has no readable {MANIFEST}: {error}") from error
    for entry in described:
        file = path / entry["name"]
        if not file.is_file() or file.stat().st_size != entry["bytes"] or _sha256(file) != entry["sha256"]:
            raise OSError(errno.EIO, f"checkpoint {path.name} is damaged: {entry['name']} differs from the manifest")


def _write(directory: Path, step: int, policy: Policy, learners: dict[str, Learner], metrics: dict[str, float]) -> None:
    policy.model.save_pretrained(directory)
    policy.tokenizer.save_pretrained(directory)
    for name, learner in learners.items():
        if name != "policy":
            save_model(learner.module, str(directory / f"{name}.safetensors"))
    optimizers = {name: learner.optimizer.state_dict() for name, learner in learners.items()}
    with (directory / TRAINER).open("wb") as file:
        torch.save({"step": step, "metrics": metrics, "optimizers": optimizers}, file)
    (directory / MANIFEST).write_text(json.dumps(_manifest(directory, step), indent=1))


def _manifest(directory: Path, step: int) -> dict[str, Any]:
    files = [
        {"name": str(file.relative_to(directory)), "bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    ]
    return {"step": step, "files": files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        _sync_path(path)


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _naming(step: int) -> Iterator[None]:
    """Say which checkpoint could not be written; safetensors and torch report a full disk in ways of their own."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} while writing checkpoint step {step}") from error
    except (SafetensorError, RuntimeError) as error:
        number = _errno(error)
        if number is None:
            raise
        raise OSError(number, f"{os.strerror(number)} while writing checkpoint step {step}") from error


def _errno(error: Exception) -> int | None:
    """The system's error behind one of safetensors, which quotes it, or of torch, which raises another on top."""
    if isinstance(error.__context__, OSError):
        return error.__context__.errno
    quoted = re.search(r"os error (\d+)", str(error))
    return int(quoted[1]) if quoted else None
