"""From a claimed row to what its trainer must know: everything as local paths, every checkpoint verified."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from service import logs
from service.copies import Copy
from service.domain.datasets import FileData
from service.domain.errors import Invalid, NotFound
from service.domain.jobs import Failure
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL, JobSpec
from service.failpoints import failpoint
from service.persistence import checkpoints, events, files, jobs, leases
from service.persistence.database import Database, Session
from service.persistence.tables import Checkpoint, Job
from service.storage import Storage, Watch
from worker import lease
from worker.scratch import Scratch
from worker.training import manifest
from worker.training.events import Assignment
from worker.training.manifest import Damaged

log = logs.get(__name__)
LEASE_SECONDS = 30.0
Hold = Callable[[Session], Job]
"""The job, locked and its lease renewed; LeaseLost if it is no longer ours."""
DAMAGED_HINT = "name another checkpoint of that job, or train it again"
STORAGE_HINT = "look at the storage (STORAGE_URL) and at the space in the worker's data directory (HONE_DATA_DIR)"


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds, and the attempt that every write must carry."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    owner: str
    devices: list[int]
    ran_seconds: float = 0.0
    """Of the attempts before."""

    @property
    def name(self) -> str:
        """Of the attempt: this worker may claim a job again while it still tidies up after an earlier one."""
        return f"{self.job_id}, attempt {self.attempt}"


def prepare(
    claim: Claim,
    database: Database,
    storage: Storage,
    scratch: Scratch,
    model_roots: list[Path],
    lease_seconds: float = LEASE_SECONDS,
    unwanted: lease.Unwanted = lambda status: False,
) -> Assignment | None:
    """The assignment, or None when the job cannot run: something that it names is not there, or a disk is full.

    To fetch a model may take minutes: `unwanted` is asked all the while; LeaseLost once it has ended the attempt.
    """
    hold = partial(leases.hold, job_id=claim.job_id, attempt=claim.attempt, lease_seconds=lease_seconds)
    try:
        scratch.open()
        with lease.renewed(database, claim.job_id, claim.attempt, lease_seconds, unwanted) as watch:
            assignment = _Preparation(claim, database, storage, scratch, model_roots, hold, watch).assignment()
            failpoint("assignment.prepared")
        return assignment
    except (Invalid, NotFound) as error:
        _fail(hold, database, Failure(category="user", message=error.message))
    except Damaged as error:
        _fail(hold, database, _infra(error, DAMAGED_HINT))
    except OSError as error:
        with database.transaction() as session:
            leases.give_up(session, hold(session), _infra(error, STORAGE_HINT))
    return None


def _infra(error: OSError, hint: str) -> Failure:
    return Failure(category="infra", message=f"cannot prepare the job: {error.strerror or error}", hint=hint)


class _Preparation:
    """Short transactions, and long looks at files between them."""

    def __init__(
        self,
        claim: Claim,
        database: Database,
        storage: Storage,
        scratch: Scratch,
        model_roots: list[Path],
        hold: Hold,
        watch: Watch,
    ) -> None:
        self._claim = claim
        self._database = database
        self._storage = storage
        self._scratch = scratch
        self._roots = model_roots
        self._hold = hold
        self._watch = watch
        self._spec = JobSpec.model_validate(claim.spec)

    def assignment(self) -> Assignment:
        """All that the trainer must know."""
        return Assignment(
            job_id=self._claim.job_id,
            attempt=self._claim.attempt,
            spec=self._claim.spec,
            directory=str(self._scratch.path),
            models={name: self._model(name, field) for field, name in self._spec.models.items()},
            resume_from=self._newest_whole(),
            files=self._files(),
            devices=self._claim.devices,
        )

    def _newest_whole(self) -> str | None:
        """The newest checkpoint whose files are what was written; those that are not are passed over, for good."""
        while True:
            with self._database.transaction() as session:
                row = checkpoints.choose(session, self._claim.job_id, "latest")
            if row is None:
                return None
            try:
                return str(self._verified(row))
            except Damaged as error:
                self._pass_over(row, error)

    def _verified(self, row: Checkpoint) -> Path:
        """A bad copy of a remote checkpoint is fetched again before the storage is blamed."""
        try:
            return self._look(row, anew=False)
        except Damaged:
            if self._storage.is_directory:
                raise
            return self._look(row, anew=True)

    def _look(self, row: Checkpoint, *, anew: bool) -> Path:
        copy = self._fetched(row, anew)
        try:
            manifest.verify(copy.path, row.files, self._watch)
        except BaseException:
            copy.close()
            raise
        return self._scratch.keep(copy)

    def _fetched(self, row: Checkpoint, anew: bool) -> Copy:
        try:
            copy = self._storage.pin(row.storage_key, anew=anew, watch=self._watch)
            if copy.path.exists():
                return copy
            copy.close()
        except FileNotFoundError:
            pass
        if not self._storage.exists("checkpoints"):
            raise OSError(errno.EIO, "the storage holds no checkpoints at all: is it mounted, is STORAGE_URL right?")
        raise Damaged(errno.EIO, f"checkpoint step-{row.step} of job {row.job_id} is missing: {row.storage_key}")

    def _pass_over(self, row: Checkpoint, error: Damaged) -> None:
        """In one transaction: nothing starts from it any more, and what was reported beyond the one before it goes."""
        with self._database.transaction() as session:
            job = self._hold(session)
            checkpoints.mark_damaged(session, row.id)
            leases.rewind(session, job)
            before = checkpoints.choose(session, job.id, "latest")
            instead = f"from step {before.step}" if before else "from the start"
            events.add(session, job, "log", _warning(f"{error.strerror}; the job goes on {instead}"))
        log.error("a checkpoint is damaged", job=row.job_id, step=row.step, error=error.strerror)

    def _model(self, name: str, field: str) -> str:
        match = JOB_MODEL.match(name)
        if match is None:
            return str(local_directory(name, self._roots) or name)
        with self._database.transaction() as session:
            job = self._hold(session)
            row = checkpoints.origin(session, job, name)
        if row is None:
            which = match["which"] or "latest"
            raise Invalid(f"job {match['job']} has no checkpoint {which} to start from", param=field)
        try:
            if row.damaged:
                raise Damaged(errno.EIO, "its files are not what was written")
            return str(self._verified(row))
        except Damaged as error:
            self._accuse(row, error)
            message = f"{name}, which {field} names, cannot be used: checkpoint step-{row.step} of job {row.job_id}"
            raise Damaged(errno.EIO, f"{message} is damaged ({error.strerror})") from error

    def _accuse(self, row: Checkpoint, error: Damaged) -> None:
        """Tell the owner of another job's checkpoint."""
        if row.damaged:
            return
        with self._database.transaction() as session:
            job = jobs.get(session, row.job_id, None, lock=True)
            checkpoints.mark_damaged(session, row.id)
            found = f"found when job {self._claim.job_id} started from it"
            events.add(session, job, "log", _warning(f"{error.strerror}, {found}"))

    def _files(self) -> dict[str, str]:
        named = [data.source for data in self._spec.datasets.values() if isinstance(data, FileData)]
        with self._database.transaction() as session:
            keys = {name: f"files/{files.get(session, name, self._claim.owner).sha256}" for name in named}
        return {name: str(self._scratch.keep(self._storage.pin(key, watch=self._watch))) for name, key in keys.items()}


def _warning(line: str) -> dict[str, str]:
    return {"stream": "hone", "line": line, "level": "warning"}


def _fail(hold: Hold, database: Database, failure: Failure) -> None:
    with database.transaction() as session:
        jobs.fail(session, hold(session), failure)
