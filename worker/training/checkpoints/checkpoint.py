"""Checkpoints on disk, complete or absent: written to a partial folder, synced, renamed; a manifest has the hashes.

`step-00000100/` holds the export (`export.py`: what transformers loads, and a card), one safetensors file for each
further module (`critic.safetensors`), `trainer.pt` (optimizers, step, metrics, state) and `manifest.json`. Where the
export is not fp32, `weights-fp32/` holds the policy as it was trained. Together with the spec these are all that the
next step depends on. A policy with adapters is exported as what it computes, in weights of the usual shapes; the
adapters themselves are in `adapter/`, in peft's format.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_model, save_model
from torch.nn import Module

from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.storage import durable, manifest
from worker.training.checkpoints import export
from worker.training.models.policy import Policy
from worker.training.updates.optim import Learner

TRAINER = "trainer.pt"


class Snapshot(NamedTuple):
    """All that the next step depends on, with the spec."""

    step: int
    policy: Policy
    learners: dict[str, Learner]
    """`policy` is exported as a model, others are saved beside it."""
    modules: dict[str, Module]
    """Weights that change without a learner."""
    state: dict[str, Any]
    metrics: dict[str, float]
    spec: JobSpec
    """For the export: its dtype, and what its card says."""

    @property
    def extra_modules(self) -> dict[str, Module]:
        """The modules beside the policy, each of which has a file of its own."""
        return {name: learner.module for name, learner in self.learners.items() if name != "policy"} | self.modules


class Restored(NamedTuple):
    """What a checkpoint says, besides weights and optimizers."""

    step: int
    metrics: dict[str, float]
    state: dict[str, Any]


def save(directory: Path, snapshot: Snapshot) -> Path:
    """Write a checkpoint below `directory`; OSError names the step and leaves nothing behind.

    The directory is one attempt's own, so that a stale trainer that wakes up writes into nobody's checkpoint.
    """
    step = snapshot.step
    final = directory / f"step-{step:08d}"
    partial = directory / f".{final.name}.{directory.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _naming(step):
            partial.mkdir(parents=True)
            _write(partial, snapshot)
            durable.sync(partial)
            failpoint("checkpoint.written")
            shutil.rmtree(final, ignore_errors=True)  # a torn or outdated one of an earlier attempt
            partial.rename(final)
            durable.sync_path(directory)
            failpoint("checkpoint.renamed")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def restore(path: Path, learners: dict[str, Learner], modules: dict[str, Module]) -> Restored:
    """Put optimizers and further modules back; the policy was loaded by `loading.py`."""
    state = torch.load(path / TRAINER, map_location="cpu", weights_only=True)
    for name, learner in learners.items():
        if name != "policy":
            load_model(learner.module, path / f"{name}.safetensors")
        learner.restore(state["optimizers"][name])
    for name, module in modules.items():
        load_model(module, path / f"{name}.safetensors")
    return Restored(int(state["step"]), dict(state["metrics"]), dict(state["state"]))


def _write(directory: Path, snapshot: Snapshot) -> None:
    export.write(directory, snapshot.policy, snapshot.spec, snapshot.step, snapshot.metrics)
    for name, module in snapshot.extra_modules.items():
        save_model(module, str(directory / f"{name}.safetensors"))
    optimizers = {name: learner.state() for name, learner in snapshot.learners.items()}
    trainer = {"step": snapshot.step, "metrics": snapshot.metrics, "state": snapshot.state, "optimizers": optimizers}
    with (directory / TRAINER).open("wb") as file:
        torch.save(trainer, file)
    manifest.write(directory, snapshot.step)


@contextmanager
def _naming(step: int) -> Iterator[None]:
    """Say which checkpoint could not be written; three libraries report a full disk in three ways."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} while writing checkpoint step {step}") from error
    except Exception as error:  # tokenizers raises nothing more exact
        number = _errno(error)
        if number is None:
            raise
        raise OSError(number, f"{os.strerror(number)} while writing checkpoint step {step}") from error


def _errno(error: Exception) -> int | None:
    """The system's error behind one of Rust's libraries, which quote it, or of torch, which raises another on top."""
    if isinstance(error.__context__, OSError):
        return error.__context__.errno
    quoted = re.search(r"os error (\d+)", str(error))
    return int(quoted[1]) if quoted else None
