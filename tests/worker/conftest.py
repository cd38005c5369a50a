"""A claimed job, its storage, and checkpoints that need no training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service import commands
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, events, jobs
from service.persistence.database import Database
from service.persistence.tables import Checkpoint
from service.storage import manifest
from service.storage.store import Storage
from worker.attempt import Attempt, Claim
from worker.scratch import Scratch


class Bench:
    """Claims jobs and writes checkpoints for the tests of the worker."""

    def __init__(self, database: Database, storage: Storage, folder: Path) -> None:
        self.database = database
        self.storage = storage
        self.folder = folder

    def claim(self, spec: JobSpec) -> Claim:
        """Submit a job and claim it."""
        with self.database.transaction() as session:
            job_id = commands.submit(session, commands.Requester("ada"), spec, []).id
            claimed = claims.claim(session, "worker-1", 0, lease_seconds=30)
            assert claimed is not None and claimed.job.id == job_id
            job = claimed.job
            return Claim(job.id, job.attempt, claimed.spec, job.owner, [], job.ran_seconds)

    def attempt(self, claim: Claim, **changes: Any) -> Attempt:
        """Working in the folder of `written`; keyword arguments replace its fields."""
        scratch = Scratch(self.folder, claim.job_id, claim.attempt)
        scratch.path = self.folder / "scratch"
        return replace(Attempt(claim, self.database, self.storage, scratch, lease_seconds=30), **changes)

    def written(self, step: int) -> Path:
        """The folder of a complete checkpoint as a trainer leaves it."""
        folder = self.folder / "scratch" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(bytes([step]) * 1000)
        manifest.write(folder, step)
        return folder

    def stored(self, claim: Claim, step: int) -> Checkpoint:
        """A checkpoint in the storage, with its row."""
        folder = self.written(step)
        key, files = f"checkpoints/{claim.job_id}/step-{step}-attempt-{claim.attempt}", manifest.read(folder)
        self.storage.put(folder, key)
        with self.database.transaction() as session:
            job = jobs.get(session, claim.job_id, None, lock=True)
            return checkpoints.put(session, job, step, key, files, {})

    def warnings(self, job_id: str) -> list[str]:
        """Those in the job's log."""
        with self.database.transaction() as session:
            lines = [event.data for event in events.page(session, job_id, 0, 100, ["log"])]
        return [data["line"] for data in lines if data.get("level")]


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """With a storage in a directory."""
    return Bench(database, Storage(str(tmp_path / "storage"), tmp_path / "cache"), tmp_path)


@pytest.fixture
def claim(bench: Bench, spec: Callable[..., JobSpec]) -> Claim:
    """A claimed job of a few seconds that is not run again."""
    return bench.claim(spec(checkpoint={"keep_last": 2}, max_restarts=0))
