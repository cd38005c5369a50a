"""Checkpoints on their way from a trainer's scratch folder into the storage."""

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import logs
from service.domain.jobs import JobStatus
from service.domain.metrics import higher_is_better
from service.domain.specs import CheckpointSpec
from service.failpoints import failpoint
from service.persistence import checkpoints, events, leases, metrics
from service.persistence.database import Database, Session
from service.persistence.tables import Job
from service.storage import Storage, Watch
from worker import lease
from worker.assignment import Claim
from worker.training import manifest
from worker.training.events import Saved

log = logs.get(__name__)
LONGEST_WAIT_SECONDS = 4.0  # a cancel is heard between two tries


@dataclass(frozen=True)
class Kept:
    """A checkpoint that is in the storage but not yet in a row."""

    storage_key: str
    files: list[dict[str, Any]]


class Archive:
    """The checkpoints of one attempt. Keys carry the attempt, so a stale one overwrites nothing."""

    def __init__(
        self,
        claim: Claim,
        database: Database,
        storage: Storage,
        scratch: Path,
        spec: CheckpointSpec,
        lease_seconds: float,
        stopping: threading.Event,
        unwanted: lease.Unwanted,
    ) -> None:
        self._claim = claim
        self._database = database
        self._storage = storage
        self._scratch = scratch
        self._spec = spec
        self._lease_seconds = lease_seconds
        self._stopping = stopping
        self._unwanted = unwanted
        self._stored: dict[int, Kept] = {}
        """What has no row yet, because the database was away when it should be written."""

    def keep(self, saved: Saved) -> Kept | None:
        """Move it into the storage, if the job is still ours. None when there is nothing to record: it is there
        already (a resumed trainer names what it started from), or the job is cancelled while the storage fails.

        A storage that fails is given time to recover: the trainer's own copy is whole, and training goes on meanwhile.
        OSError when it does not recover, or the worker stops.
        """
        folder = Path(saved.directory)
        if not folder.is_relative_to(self._scratch):
            return None
        if saved.step not in self._stored:
            kept = self._store(saved.step, folder)
            if kept is None:
                return None
            self._stored[saved.step] = kept
        return self._stored[saved.step]

    def _store(self, step: int, folder: Path) -> Kept | None:
        key = f"checkpoints/{self._claim.job_id}/step-{step}-attempt-{self._claim.attempt}"
        files = manifest.read(folder)
        give_up_at = time.monotonic() + self._storage.patience_seconds
        wait, failed = 0.5, False
        while self._look() != JobStatus.CANCELLING or not failed:
            try:
                with self._held() as watch:
                    failpoint("checkpoint.moving")
                    self._storage.put(folder, key, watch)
                    failpoint("checkpoint.moved")
            except OSError as error:
                left = give_up_at - time.monotonic()
                if left <= 0 or self._stopping.is_set():
                    raise
                if not failed:
                    self._say(f"the checkpoint of step {step} cannot be stored: {error}; trying for {left:.0f} s")
                failed, wait = True, min(2 * wait, LONGEST_WAIT_SECONDS)
                self._stopping.wait(min(wait, left, self._lease_seconds / 3))
                continue
            if failed:
                self._say(f"the checkpoint of step {step} is stored now", level="info")
            return Kept(key, files)
        return None

    def _held(self) -> AbstractContextManager[Watch]:
        held = (self._claim.job_id, self._claim.attempt, self._lease_seconds)
        return lease.renewed(self._database, *held, self._unwanted)

    def _look(self) -> JobStatus:
        """The job's status, and the lease renewed; LeaseLost if it is no longer ours."""
        with self._database.transaction() as session:
            return JobStatus(leases.hold(session, self._claim.job_id, self._claim.attempt, self._lease_seconds).status)

    def _say(self, line: str, level: str = "warning") -> None:
        log.warning(line, job=self._claim.job_id)
        with self._database.transaction() as session:
            job = leases.hold(session, self._claim.job_id, self._claim.attempt, self._lease_seconds)
            events.add(session, job, "log", {"stream": "hone", "line": line, "level": level})

    def record(self, session: Session, job: Job, saved: Saved, kept: Kept | None) -> None:
        """Write the row and tell of it; rows that it supersedes go, and later their files."""
        if kept is None:
            return
        row = checkpoints.put(session, job, saved.step, kept.storage_key, kept.files, events.finite(saved.metrics))
        self._mark_best(session, job)
        for old in checkpoints.superseded(session, job.id, self._spec.keep_last):
            checkpoints.remove(session, old)
        session.refresh(row)
        told = {"id": row.id, "step": row.step, "bytes": row.bytes, "best": row.best}
        events.add(session, job, "checkpoint", told, saved.step)
        failpoint("checkpoint.recorded")

    def _mark_best(self, session: Session, job: Job) -> None:
        name = self._spec.keep_best
        if name is None:
            return
        steps = [row.step for row in checkpoints.of_job(session, job.id) if not row.damaged]
        best = metrics.best_step(session, job.id, name, steps, highest=higher_is_better(name))
        if best is not None:
            checkpoints.mark_best(session, job.id, best)
