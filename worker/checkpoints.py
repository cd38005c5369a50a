"""Checkpoints on their way from a trainer's scratch folder into the storage, and out of it when superseded."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import logs
from service.domain.metrics import higher_is_better
from service.domain.specs import CheckpointSpec
from service.failpoints import failpoint
from service.persistence import checkpoints, events, metrics
from service.persistence.database import Session
from service.persistence.tables import Job
from service.storage import Storage
from worker.assignment import Claim
from worker.training.events import Saved

log = logs.get(__name__)


@dataclass(frozen=True)
class Kept:
    """A checkpoint that is in the storage but not yet in a row."""

    storage_key: str
    files: list[dict[str, Any]]


class Archive:
    """The checkpoints of one attempt. Keys carry the attempt, so a stale one overwrites nothing."""

    def __init__(self, claim: Claim, storage: Storage, scratch: Path, spec: CheckpointSpec) -> None:
        self._claim = claim
        self._storage = storage
        self._scratch = scratch
        self._spec = spec
        self._superseded: list[str] = []

    def keep(self, saved: Saved) -> Kept | None:
        """Move it into the storage. None when it is there already: a resumed trainer names what it started from."""
        folder = Path(saved.directory)
        if not folder.is_relative_to(self._scratch):
            return None
        key = f"checkpoints/{self._claim.job_id}/step-{saved.step}-attempt-{self._claim.attempt}"
        if folder.exists():  # not when the row could not be written and this is the second try
            failpoint("checkpoint.moving")
            self._storage.put(folder, key)
            failpoint("checkpoint.moved")
        manifest = json.loads((self._storage.local(key) / "manifest.json").read_text())
        return Kept(key, manifest["files"])

    def record(self, session: Session, job: Job, saved: Saved, kept: Kept | None) -> None:
        """Write the row and tell of it; rows that it supersedes go."""
        if kept is None:
            return
        row = checkpoints.put(session, job, saved.step, kept.storage_key, kept.files, events.finite(saved.metrics))
        self._mark_best(session, job)
        for old in checkpoints.superseded(session, job.id, self._spec.keep_last):
            self._superseded.append(old.storage_key)
            session.delete(old)
        session.refresh(row)
        told = {"id": row.id, "step": row.step, "bytes": row.bytes, "best": row.best}
        events.add(session, job, "checkpoint", told, saved.step)
        failpoint("checkpoint.recorded")

    def _mark_best(self, session: Session, job: Job) -> None:
        name = self._spec.keep_best
        if name is None:
            return
        steps = [row.step for row in checkpoints.of_job(session, job.id)]
        best = metrics.best_step(session, job.id, name, steps, highest=higher_is_better(name))
        if best is not None:
            checkpoints.mark_best(session, job.id, best)

    def forget_superseded(self) -> None:
        """Delete what no row names any more; what cannot be deleted now is only wasted space."""
        while self._superseded:
            key = self._superseded.pop()
            try:
                self._storage.delete(key)
                failpoint("checkpoint.forgotten")
            except OSError as error:
                log.warning("a superseded checkpoint could not be deleted", key=key, error=str(error))
