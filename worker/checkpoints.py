"""Moves checkpoints from a trainer's scratch folder into the storage, then writes their rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hone.documents.status import JobStatus
from service import logs
from service.domain.health_notes import Note
from service.domain.metrics import higher_is_better
from service.failpoints import failpoint
from service.persistence import checkpoints, events, health_notes, metrics
from service.persistence.database import Session
from service.persistence.tables import Job
from service.storage import manifest
from worker.attempt import Attempt, EndIfUnwanted
from worker.protocol import Saved

log = logs.get(__name__)
REMEDY = (
    "it is tried again until it is stored: look at the disk or bucket of STORAGE_URL, free space there, or let jobs "
    "keep fewer checkpoints (checkpoint.keep_last)"
)
LONGEST_WAIT_SECONDS = 4.0  # between two tries, when a cancel is noticed


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint in the storage, for which a row is to be written."""

    storage_key: str
    files: list[dict[str, Any]]


class CheckpointArchive:
    """Stores the checkpoints of one attempt. The keys contain the attempt, so a stale attempt overwrites nothing."""

    def __init__(self, attempt: Attempt, end_if_unwanted: EndIfUnwanted, is_over: Callable[[], bool]) -> None:
        """`is_over`: whether the attempt must end, whatever the storage does."""
        self._attempt, self._is_over = attempt, is_over
        self._storage = attempt.storage
        self._spec = attempt.spec.checkpoint
        self._end_if_unwanted = end_if_unwanted
        self._stored: dict[int, StoredCheckpoint] = {}
        """By step, for a report that is written again because the database did not answer."""

    def store(self, saved: Saved) -> StoredCheckpoint | None:
        """Move it into the storage, while the attempt holds its job. None if there is nothing to record: it is stored
        already (a resumed trainer reports the one that it started from), or the job was cancelled while the storage
        failed.

        A storage that fails has all the time that the job has: the trainer's own copy is complete, training continues
        meanwhile, and whatever ended the attempt would cost steps. OSError if the attempt must end, or if the
        trainer's own copy is damaged or gone.
        """
        folder = Path(saved.directory)
        if not folder.is_relative_to(self._attempt.scratch.path):
            return None
        if saved.step not in self._stored:
            stored = self._store_with_retries(saved.step, folder)
            if stored is None:
                return None
            self._stored[saved.step] = stored
        return self._stored[saved.step]

    def _store_with_retries(self, step: int, folder: Path) -> StoredCheckpoint | None:
        key = f"checkpoints/{self._attempt.job_id}/step-{step}-attempt-{self._attempt.claim.attempt}"
        files = manifest.read(folder)
        wait, failed = 0.5, False
        while self._attempt.renew() != JobStatus.CANCELLING or not failed:
            try:
                with self._attempt.renewing(self._end_if_unwanted) as check:
                    failpoint("checkpoint.moving")
                    self._storage.put(folder, key, check)
                    failpoint("checkpoint.moved")
            except OSError as error:
                if isinstance(error, manifest.Damaged) or not folder.is_dir() or self._is_over():
                    raise
                if not failed:
                    self._note_failure(step, f"the checkpoint of step {step} cannot be stored: {error}")
                failed, wait = True, min(2 * wait, LONGEST_WAIT_SECONDS)
                self._attempt.stopping.wait(min(wait, self._attempt.lease_seconds / 3))
                continue
            if failed:
                self._log_success(f"the checkpoint of step {step} is stored now")
            return StoredCheckpoint(key, files)
        return None

    def _note_failure(self, step: int, message: str) -> None:
        log.warning(message, job=self._attempt.job_id)
        note = Note("storage_failed", message, REMEDY)
        with self._attempt.transaction() as (session, job):
            health_notes.add(session, job, note.at(step))

    def _log_success(self, line: str) -> None:
        log.info(line, job=self._attempt.job_id)
        with self._attempt.transaction() as (session, job):
            events.add(session, job, "log", {"stream": "hone", "line": line, "level": "info"})

    def record(self, session: Session, job: Job, saved: Saved, stored: StoredCheckpoint | None) -> None:
        """Write the row and its event, and remove the rows that it supersedes; their files are deleted later."""
        if stored is None:
            return
        row = checkpoints.put(session, job, saved.step, stored.storage_key, stored.files, events.finite(saved.metrics))
        self._mark_best(session, job)
        for old in checkpoints.superseded(session, job.id, self._spec.keep_last):
            checkpoints.remove(session, old)
        session.refresh(row)
        data = {"id": row.id, "step": row.step, "bytes": row.bytes, "best": row.best}
        events.add(session, job, "checkpoint", data, saved.step)
        failpoint("checkpoint.recorded")

    def _mark_best(self, session: Session, job: Job) -> None:
        name = self._spec.keep_best
        if name is None:
            return
        steps = [row.step for row in checkpoints.of_job(session, job.id) if not row.damaged]
        best = metrics.best_step(session, job.id, name, steps, highest=higher_is_better(name))
        if best is not None:
            checkpoints.mark_best(session, job.id, best)
