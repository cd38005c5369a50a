"""Writes what a trainer says into rows. Every write carries its attempt, renews the lease, or raises LeaseLost."""

import math
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from service import logs
from service.domain.jobs import Failure, JobEvent, JobStatus
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import events, jobs, leases, metrics, samples
from service.persistence.database import Database, Session
from service.persistence.tables import Job
from service.storage import Storage
from worker.assignment import Claim
from worker.checkpoints import Archive, Kept
from worker.log_limit import LogLimit
from worker.pace import Pace
from worker.trainer_process import Heard, Line
from worker.training.events import (
    Evaluated,
    Failed,
    Finished,
    Phase,
    Previewed,
    PreviewRow,
    Sampled,
    Saved,
    Started,
    Step,
    Stopped,
    Warned,
)

log = logs.get(__name__)


class Reporter:
    """The rows of one attempt of one job."""

    def __init__(
        self,
        claim: Claim,
        database: Database,
        storage: Storage,
        scratch: Path,
        lease_seconds: float,
        stopping: threading.Event | None = None,
        max_log_bytes: int = 64 * 2**20,
    ) -> None:
        self.ended = False
        self._claim = claim
        self._database = database
        self._lease_seconds = lease_seconds
        self._renewed = time.monotonic()
        self._reports = 0
        self._log_limit = LogLimit(max_log_bytes)
        self._pace = Pace()
        spec = JobSpec.model_validate(claim.spec)
        self._time_up = time.monotonic() + (spec.max_seconds or math.inf) - claim.ran_seconds
        self._max_seconds = spec.max_seconds
        self._stopping = stopping or threading.Event()
        self._archive = Archive(
            claim, database, storage, scratch, spec.checkpoint, lease_seconds, self._stopping, self._cancelled
        )

    def admit(self, heard: list[Heard]) -> list[Heard]:
        """What of it is written: all but what a trainer prints without end."""
        return self._log_limit.admit(heard)

    def write(self, heard: list[Heard]) -> JobStatus:
        """One transaction for all of it; with nothing to say, a look at the status, and a beat when it is due."""
        if not heard and time.monotonic() - self._renewed < self._lease_seconds / 3:
            with self._database.transaction() as session:
                return leases.peek(session, self._claim.job_id, self._claim.attempt)
        failpoint("report.heard")
        try:
            kept = self._keep([one for one in heard if isinstance(one, Saved)])
        except OSError as error:
            return self.fail(Failure(category="infra", message=f"cannot store the checkpoint: {error}", hint=DISK_HINT))
        with self._database.transaction() as session:
            job = self._hold(session)
            if job.reports == self._reports:  # else it was written, although the server could not say so any more
                job.reports += 1
                for one in sorted(heard, key=lambda one: isinstance(one, Failed | Finished | Stopped)):  # the end last
                    self._write_one(session, job, one, kept)
            status = JobStatus(job.status)
            failpoint("report.written")
        failpoint("report.committed")
        self._reports += 1
        return status

    @property
    def out_of_time(self) -> bool:
        """Whether the job has run for as long as it may."""
        return time.monotonic() > self._time_up

    @property
    def seconds_left(self) -> float:
        """The estimate; infinite before there is one."""
        return self._pace.seconds_left

    def _keep(self, saved: list[Saved]) -> dict[int, Kept | None]:
        """Checkpoints into the storage, before their rows: they cannot be taken back by a rollback."""
        return {one.step: self._archive.keep(one) for one in saved}

    def _hold(self, session: Session) -> Job:
        job = leases.hold(session, self._claim.job_id, self._claim.attempt, self._lease_seconds)
        self._renewed = time.monotonic()
        failpoint("lease.renewed")
        return job

    def _write_one(self, session: Session, job: Job, one: Heard, kept: dict[int, Kept | None]) -> None:
        match one:
            case Line() | Warned():
                events.add(session, job, "log", _log(one))
            case Started():
                self._started(session, job, one)
            case Previewed():
                events.add(session, job, "preview", {"rows": [_shown(row) for row in one.rows]}, 0)
            case Phase():
                self._phase(session, job, one.phase)
            case Step():
                job.progress = {**job.progress, **self._pace.progress(one)}
                self._values(session, job, one)
            case Evaluated():
                self._values(session, job, one)
            case Sampled():
                samples.add(session, job.id, one.step, [_clean(sample.model_dump()) for sample in one.samples])
                events.add(session, job, "sample", {"step": one.step, "count": len(one.samples)}, one.step)
            case Saved():
                self._saved(session, job, one, kept[one.step])
            case Failed():
                self._fail(session, job, Failure.model_validate(one.model_dump(exclude={"kind"})))
            case Finished():
                self._end(session, job, JobEvent.FINISH)
            case Stopped():
                self._stopped(session, job)

    def _saved(self, session: Session, job: Job, one: Saved, kept: Kept | None) -> None:
        self._archive.record(session, job, one, kept)
        if kept is not None:
            job.restarts = 0  # it gets on: what max_restarts ends is a job that does not

    def _started(self, session: Session, job: Job, one: Started) -> None:
        self._pace.start(one.total_steps, one.resumed_step)
        job.progress = {**job.progress, "total_steps": one.total_steps, "step": one.resumed_step}
        origin = f", going on from step {one.resumed_step}" if one.resumed_step else ""
        line = f"{one.parameters:,} parameters on {one.device} in {one.precision}{origin}"
        events.add(session, job, "log", {"stream": "hone", "line": line})
        failpoint("started.written")

    def _phase(self, session: Session, job: Job, phase: str) -> None:
        """A trainer says it each time; only a change is news."""
        if phase != job.progress["phase"]:
            job.progress = {**job.progress, "phase": phase}
            events.add(session, job, "status", {"status": job.status, "phase": phase})

    def _values(self, session: Session, job: Job, one: Step | Evaluated) -> None:
        metrics.put(session, job.id, one.step, one.metrics)
        told = events.finite(one.metrics)
        job.metrics = {**job.metrics, **told}
        events.add(session, job, "metrics", {"step": one.step, "metrics": told}, one.step)

    def _end(self, session: Session, job: Job, event: JobEvent, **data: str) -> None:
        told = {"phase": "done", "percent": 100.0} if event == JobEvent.FINISH else {"phase": "stopped"}
        job.progress = {**job.progress, **told, "eta_seconds": None}  # a job may be done before its last step
        jobs.move(session, job, event, **data)
        failpoint("end.written")
        self.ended = True

    def _stopped(self, session: Session, job: Job) -> None:
        """The trainer has stopped, or was made to: because somebody asked, its time is up, or its worker stops."""
        if job.status != JobStatus.RUNNING:
            self._end(session, job, JobEvent.STOP)
        elif self.out_of_time:
            self._fail(session, job, self._timeout())
        else:
            self._end(session, job, JobEvent.RELEASE, reason="its worker shut down")
            failpoint("release.written")

    def _timeout(self) -> Failure:
        message = f"it has run for {self._max_seconds:g} s, its limit (max_seconds)"
        hint = "retry goes on from its last checkpoint for as long again; or clone it with a larger max_seconds"
        return Failure(category="timeout", message=message, hint=hint)

    def _fail(self, session: Session, job: Job, failure: Failure) -> None:
        leases.give_up(session, job, failure)
        self.ended = True

    def fail(self, failure: Failure) -> JobStatus:
        """End the attempt badly, for a reason of ours."""
        with self._database.transaction() as session:
            job = self._hold(session)
            self._fail(session, job, failure)
            return JobStatus(job.status)

    def ends_early(self, status: JobStatus) -> bool:
        """While the job's files are fetched nothing needs saving: end the attempt as soon as it should stop."""
        if status == JobStatus.RUNNING and not self._stopping.is_set() and not self.out_of_time:
            return False
        self.cut_off()
        return True

    def _cancelled(self, status: JobStatus) -> bool:
        """While a checkpoint is stored only a cancel ends the attempt: nobody wants that checkpoint any more."""
        if status == JobStatus.CANCELLING:
            self.cut_off()
        return status == JobStatus.CANCELLING

    def cut_off(self) -> None:
        """It was killed because it did not stop by itself in time."""
        with self._database.transaction() as session:
            self._stopped(session, self._hold(session))

    @cached_property
    def _rest(self) -> list[Heard]:
        """The end of the log; kept, because to write it may take two tries."""
        return self._log_limit.rest()

    def lost(self, how: str) -> None:
        """The trainer died without a word."""
        hint = "if it was SIGKILL the machine may have run out of memory: lower micro_batch_tokens or the batch"
        with self._database.transaction() as session:
            job = self._hold(session)
            for line in self._rest:
                self._write_one(session, job, line, {})
            leases.lose(session, job, Failure(category="lost", message=how, hint=hint))


DISK_HINT = "free space in the storage or let the job keep fewer checkpoints (checkpoint.keep_last)"


def _log(one: Line | Warned) -> dict[str, Any]:
    if isinstance(one, Line):
        return {"stream": one.stream, "line": one.text}
    return {"stream": "hone", "line": one.message, "level": "warning"}


def _shown(row: PreviewRow) -> dict[str, object]:
    return row.model_dump() | {"segments": [_clean(segment.model_dump()) for segment in row.segments]}


def _clean(fields: dict[str, object]) -> dict[str, object]:
    """PostgreSQL's text has no NUL; a model can say one."""
    clean = {name: value.replace("\x00", "\ufffd") for name, value in fields.items() if isinstance(value, str)}
    return fields | clean
