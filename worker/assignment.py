"""Prepares the Assignment of a claimed job: whatever the spec names becomes a local path; checkpoints are verified."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

from hone.documents.status import Failure
from hone.errors import Invalid, NotFound
from service import logs
from service.domain.datasets import FileData
from service.domain.health_notes import Note
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL
from service.domain.stored import SPEC_VERSION
from service.failpoints import failpoint
from service.persistence import checkpoints, files, health_notes, jobs, leases
from service.persistence.database import Session
from service.persistence.tables import Checkpoint, Job
from service.storage import manifest
from service.storage.copies import Copy
from service.storage.manifest import Damaged
from worker.attempt import Attempt, EndIfUnwanted
from worker.protocol import Assignment

log = logs.get(__name__)
DAMAGED_HINT = "name another checkpoint of that job, or train it again"
LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of this worker's disk: another worker may have a better one. All others are the storage's."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 4.0  # between two tries
STORAGE_HINT = "check the storage (STORAGE_URL) and the free space in the worker's data directory (HONE_DATA_DIR)"


def prepare(
    attempt: Attempt, model_roots: list[Path], end_if_unwanted: EndIfUnwanted = lambda status: False
) -> Assignment | None:
    """The assignment, or None if the job cannot run: something that it names does not exist, or a disk is full.

    Fetching a model may take minutes; `end_if_unwanted` is called meanwhile, and LeaseLost raised once it has ended the
    attempt.
    """
    try:
        attempt.scratch.open()
    except OSError as error:
        _give_up(attempt, error)
        return None
    try:
        with attempt.renewing(end_if_unwanted) as check:
            assignment = _with_patience(attempt, _Preparation(attempt, model_roots, check).assignment, check)
            failpoint("assignment.prepared")
        return assignment
    except (Invalid, NotFound) as error:
        _fail(attempt, Failure(category="user", message=error.message))
    except Damaged as error:
        _fail(attempt, _infra_failure(error, DAMAGED_HINT))
    except OSError as error:
        if error.errno in LOCAL:
            _give_up(attempt, error)
        else:
            with attempt.transaction() as (session, job):
                leases.postpone(session, job, _infra_failure(error, STORAGE_HINT).message)
    return None


def _give_up(attempt: Attempt, error: OSError) -> None:
    with attempt.transaction() as (session, job):
        leases.give_up(session, job, _infra_failure(error, STORAGE_HINT))


def _with_patience(attempt: Attempt, prepare_once: Callable[[], Assignment], check: Callable[[], None]) -> Assignment:
    """A storage that does not answer has some time to recover, in which the attempt keeps its lease."""
    give_up_at = time.monotonic() + attempt.storage.retry_seconds
    wait, noted = FIRST_WAIT_SECONDS, False
    while True:
        try:
            return prepare_once()
        except Damaged:
            raise
        except OSError as error:
            left = give_up_at - time.monotonic()
            if left <= 0 or attempt.stopping.is_set():
                raise
            if not noted:
                _note_wait(attempt, error, left)
            attempt.stopping.wait(min(wait, left))
            check()
            wait, noted = min(2 * wait, LONGEST_WAIT_SECONDS), True


def _note_wait(attempt: Attempt, error: OSError, seconds: float) -> None:
    message = f"the files of the job cannot be fetched: {error.strerror or error}"
    log.warning(message, job=attempt.job_id)
    note = Note("storage_failed", message, f"trying for {seconds:.0f} s: look at the disk or bucket of STORAGE_URL")
    with attempt.transaction() as (session, job):
        health_notes.add(session, job, note.at(job.progress["step"]))


def _fail(attempt: Attempt, failure: Failure) -> None:
    with attempt.transaction() as (session, job):
        jobs.fail(session, job, failure)


def _infra_failure(error: OSError, hint: str) -> Failure:
    return Failure(category="infra", message=f"cannot prepare the job: {error.strerror or error}", hint=hint)


class _Preparation:
    """Makes an Assignment. Files are fetched and hashed between transactions, which are short."""

    def __init__(self, attempt: Attempt, model_roots: list[Path], check: Callable[[], None]) -> None:
        self._attempt = attempt
        self._spec = attempt.spec
        self._storage = attempt.storage
        self._scratch = attempt.scratch
        self._roots = model_roots
        self._check = check

    def assignment(self) -> Assignment:
        """Everything that the trainer needs."""
        return Assignment(
            job_id=self._attempt.job_id,
            attempt=self._attempt.claim.attempt,
            spec=self._spec.model_dump(mode="json"),
            spec_version=SPEC_VERSION,
            directory=str(self._scratch.path),
            models={name: self._model(name, field) for field, name in self._spec.models.items()},
            resume_from=self._newest_checkpoint(),
            files=self._files(),
            devices=self._attempt.claim.devices,
        )

    def _newest_checkpoint(self) -> str | None:
        """The newest undamaged checkpoint; damaged ones are marked and skipped."""
        while True:
            with self._attempt.database.transaction() as session:
                row = checkpoints.choose(session, self._attempt.job_id, "latest")
            if row is None:
                return None
            try:
                return str(self._verified(row))
            except Damaged as error:
                self._skip_damaged(row, error)

    def _verified(self, row: Checkpoint) -> Path:
        """Its local path. A damaged local copy is fetched again, before the checkpoint itself counts as damaged."""
        try:
            return self._pinned_and_verified(row, refetch=False)
        except Damaged:
            if self._storage.is_directory:
                raise
            return self._pinned_and_verified(row, refetch=True)

    def _pinned_and_verified(self, row: Checkpoint, *, refetch: bool) -> Path:
        copy = self._pinned(row, refetch=refetch)
        try:
            manifest.verify(copy.path, row.files, self._check)
        except BaseException:
            copy.close()
            raise
        return self._scratch.pin(copy)

    def _pinned(self, row: Checkpoint, *, refetch: bool) -> Copy:
        try:
            copy = self._storage.pin(row.storage_key, refetch=refetch, check=self._check)
            if copy.path.exists():
                return copy
            copy.close()
        except FileNotFoundError:
            pass
        if not self._storage.exists("checkpoints"):
            raise OSError(errno.EIO, "the storage has no checkpoints at all: is it mounted, and is STORAGE_URL right?")
        raise Damaged(errno.EIO, f"checkpoint step-{row.step} of job {row.job_id} is missing: {row.storage_key}")

    def _skip_damaged(self, row: Checkpoint, error: Damaged) -> None:
        """In one transaction: mark it, so that nothing starts from it, and rewind the job to the checkpoint before."""
        with self._attempt.transaction() as (session, job):
            checkpoints.mark_damaged(session, row.id)
            leases.rewind(session, job)
            previous = checkpoints.choose(session, job.id, "latest")
            origin = f"from step {previous.step}" if previous else "from the start"
            _note_damage(session, job, f"{error.strerror}; the job continues {origin}")
        log.error("a checkpoint is damaged", job=row.job_id, step=row.step, error=error.strerror)

    def _model(self, name: str, field: str) -> str:
        match = JOB_MODEL.match(name)
        if match is None:
            return str(local_directory(name, self._roots) or name)
        with self._attempt.transaction() as (session, job):
            row = checkpoints.origin(session, job, name)
        if row is None:
            which = match["which"] or "latest"
            raise Invalid(f"job {match['job']} has no checkpoint {which} to start from", param=field)
        try:
            if row.damaged:
                raise Damaged(errno.EIO, "its files differ from what was written")
            return str(self._verified(row))
        except Damaged as error:
            self._report_damage(row, error)
            message = f"{name}, which {field} names, cannot be used: checkpoint step-{row.step} of job {row.job_id}"
            raise Damaged(errno.EIO, f"{message} is damaged ({error.strerror})") from error

    def _report_damage(self, row: Checkpoint, error: Damaged) -> None:
        """Mark another job's checkpoint, and warn in that job's log."""
        if row.damaged:
            return
        with self._attempt.database.transaction() as session:
            job = jobs.get(session, row.job_id, None, lock=True)
            checkpoints.mark_damaged(session, row.id)
            when = f"found when job {self._attempt.job_id} started from it"
            _note_damage(session, job, f"{error.strerror}, {when}")

    def _files(self) -> dict[str, str]:
        ids = [data.source for data in self._spec.datasets.values() if isinstance(data, FileData)]
        with self._attempt.database.transaction() as session:
            keys = {id_: f"files/{files.get(session, id_, self._attempt.claim.owner).sha256}" for id_ in ids}
        return {id_: str(self._scratch.pin(self._storage.pin(key, check=self._check))) for id_, key in keys.items()}


def _note_damage(session: Session, job: Job, message: str) -> None:
    note = Note("checkpoint_damaged", message, "look at the disk or bucket of STORAGE_URL")
    health_notes.add(session, job, note.at(job.progress["step"]))
