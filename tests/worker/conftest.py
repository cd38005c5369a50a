"""A claimed job, its storage, and checkpoints that need no training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service import commands
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, events, jobs
from service.persistence.database import Database
from service.persistence.tables import Checkpoint
from service.storage import Storage
from worker.assignment import Claim
from worker.training import manifest


class Bench:
    """What the tests of the worker do again and again."""

    def __init__(self, database: Database, storage: Storage, folder: Path) -> None:
        self.database = database
        self.storage = storage
        self.folder = folder

    def claim(self, spec: JobSpec) -> Claim:
        """Submit a job and hold it."""
        with self.database.transaction() as session:
            made = commands.submit(session, commands.Requester("ada"), spec, []).id
            job = claims.claim(session, "worker-1", 0, lease_seconds=30)
            assert job is not None and job.id == made
            return Claim(job.id, job.attempt, job.spec, job.owner, [])

    def written(self, step: int) -> Path:
        """A whole checkpoint as a trainer leaves it."""
        made = self.folder / "scratch" / f"step-{step:08d}"
        made.mkdir(parents=True)
        (made / "model.safetensors").write_bytes(bytes([step]) * 1000)
        manifest.write(made, step)
        return made

    def stored(self, claim: Claim, step: int) -> Checkpoint:
        """A checkpoint with its row."""
        made = self.written(step)
        key, files = f"checkpoints/{claim.job_id}/step-{step}-attempt-{claim.attempt}", manifest.read(made)
        self.storage.put(made, key)
        with self.database.transaction() as session:
            job = jobs.get(session, claim.job_id, None, lock=True)
            return checkpoints.put(session, job, step, key, files, {})

    def warnings(self, job_id: str) -> list[str]:
        """What its owner was told."""
        with self.database.transaction() as session:
            told = [event.data for event in events.page(session, job_id, 0, 100, ["log"])]
        return [data["line"] for data in told if data.get("level")]


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """With a storage in a directory."""
    return Bench(database, Storage(str(tmp_path / "storage"), tmp_path / "cache"), tmp_path)


@pytest.fixture
def claim(bench: Bench, spec: Callable[..., JobSpec]) -> Claim:
    """A job of seconds, held, that is not run again."""
    return bench.claim(spec(checkpoint={"keep_last": 2}, max_restarts=0))
