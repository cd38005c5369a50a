"""Writes a trainer's events as rows. Every write compares the attempt and renews the lease, or raises LeaseLost."""

import math
import time
from functools import cached_property

from hone.documents.status import Failure, JobStatus
from service import logs
from service.domain.jobs import JobEvent
from service.failpoints import failpoint
from service.persistence import events, health_notes, jobs, leases, metrics, samples
from service.persistence.database import Session
from service.persistence.tables import Job
from service.storage.manifest import Damaged
from worker.attempt import Attempt
from worker.checkpoints import CheckpointArchive, StoredCheckpoint
from worker.log_limit import LogLimit
from worker.pace import Pace
from worker.protocol import (
    Evaluated,
    Failed,
    Finished,
    Loaded,
    Phase,
    Previewed,
    Sampled,
    Saved,
    Started,
    Step,
    Stopped,
    Warned,
)
from worker.trainer_process import LogLine, TrainerOutput

log = logs.get(__name__)
SCRATCH_HINT = "look at the worker's data directory (HONE_DATA_DIR): something has removed or damaged a file there"
Stored = dict[int, StoredCheckpoint | None]
"""The checkpoints of one report, by step; None where there is nothing to record."""


class Reporter:
    """Writes the rows of one attempt of one job."""

    def __init__(self, attempt: Attempt, max_log_bytes: int = 64 * 2**20) -> None:
        self.ended = False
        self.attempt = attempt
        self._confirmed_reports = 0
        self._log_limit = LogLimit(max_log_bytes)
        self._pace = Pace()
        self._max_seconds = attempt.spec.max_seconds
        self._deadline = time.monotonic() + (self._max_seconds or math.inf) - attempt.claim.ran_seconds
        self._archive = CheckpointArchive(attempt, self._end_if_cancelled, self._is_over)

    def admit(self, outputs: list[TrainerOutput]) -> list[TrainerOutput]:
        """What of it is to be written: everything but log lines beyond the limit."""
        return self._log_limit.admit(outputs)

    def write(self, outputs: list[TrainerOutput]) -> JobStatus:
        """Write all of it in one transaction. Without outputs, read the status, and renew the lease if that is due."""
        if not outputs and not self.attempt.renewal_is_due:
            return self.attempt.peek()
        failpoint("report.received")
        try:
            stored = self._store_checkpoints(outputs)
        except OSError as error:
            return self._end_unstored(error)
        with self.attempt.transaction() as (session, job):
            if not self._is_committed(job):
                job.reports += 1
                for output in _last_event_last(outputs):
                    self._write_one(session, job, output, stored)
            status = JobStatus(job.status)
            failpoint("report.written")
        failpoint("report.committed")
        self._confirmed_reports += 1
        return status

    def _is_committed(self, job: Job) -> bool:
        """Whether an earlier try has committed this report, although the server could not confirm it.

        The row counts the reports that were committed, we count those whose commit was confirmed.
        """
        return job.reports != self._confirmed_reports

    @property
    def out_of_time(self) -> bool:
        """Whether the job has run for max_seconds."""
        return time.monotonic() > self._deadline

    @property
    def seconds_left(self) -> float:
        """Estimated; infinite before the first step."""
        return self._pace.seconds_left

    def _store_checkpoints(self, outputs: list[TrainerOutput]) -> Stored:
        """Move new checkpoints into the storage, before the transaction of their rows, which may be retried."""
        return {saved.step: self._archive.store(saved) for saved in outputs if isinstance(saved, Saved)}

    def _write_one(self, session: Session, job: Job, output: TrainerOutput, stored: Stored) -> None:
        match output:
            case LogLine() | Warned():
                _log(session, job, output)
            case Started():
                self._started(session, job, output)
            case Loaded() | Previewed():
                self._described(session, job, output)
            case Phase():
                self._phase(session, job, output.phase)
            case Step():
                job.progress = {**job.progress, **self._pace.progress(output)}
                self._record_metrics(session, job, output)
            case Evaluated():
                self._record_metrics(session, job, output)
            case Sampled():
                rows = [events.storable(sample.model_dump()) for sample in output.samples]
                samples.add(session, job.id, output.step, rows)
                events.add(session, job, "sample", {"step": output.step, "count": len(output.samples)}, output.step)
            case Saved():
                self._saved(session, job, output, stored[output.step])
            case Failed():
                self._fail(session, job, Failure.model_validate(events.storable(output.model_dump(exclude={"kind"}))))
            case Finished():
                self._end(session, job, JobEvent.FINISH)
            case Stopped():
                self._stopped(session, job)

    def _saved(self, session: Session, job: Job, saved: Saved, stored: StoredCheckpoint | None) -> None:
        self._archive.record(session, job, saved, stored)
        if stored is not None:
            job.restarts = 0  # max_restarts limits the restarts without a new checkpoint

    def _started(self, session: Session, job: Job, started: Started) -> None:
        self._pace.start(started.total_steps, started.resumed_step)
        total = {"total_steps": started.total_steps, "steps_per_epoch": started.steps_per_epoch}
        job.progress = {**job.progress, **total, "step": started.resumed_step}
        origin = f", continuing from step {started.resumed_step}" if started.resumed_step else ""
        line = f"{started.parameters:,} parameters on {started.device} in {started.precision}{origin}"
        events.add(session, job, "log", {"stream": "hone", "line": line})
        failpoint("started.written")

    def _described(self, session: Session, job: Job, output: Loaded | Previewed) -> None:
        """What the job works with, told before its first step."""
        if isinstance(output, Loaded):
            events.add(session, job, "loaded", events.storable(output.model_dump(exclude={"kind"})), 0)
        else:
            events.add(session, job, "preview", {"rows": [events.storable(row.model_dump()) for row in output.rows]}, 0)

    def _phase(self, session: Session, job: Job, phase: str) -> None:
        """A trainer sends its phase each time; only a change becomes an event."""
        if phase != job.progress["phase"]:
            job.progress = {**job.progress, "phase": phase}
            events.add(session, job, "status", {"status": job.status, "phase": phase})

    def _record_metrics(self, session: Session, job: Job, measured: Step | Evaluated) -> None:
        metrics.put(session, job.id, measured.step, measured.metrics)
        finite = events.finite(measured.metrics)
        job.metrics = {**job.metrics, **finite}
        events.add(session, job, "metrics", {"step": measured.step, "metrics": finite}, measured.step)

    def _end(self, session: Session, job: Job, event: JobEvent, **data: str) -> None:
        changes = {"phase": "done", "percent": 100.0} if event == JobEvent.FINISH else {"phase": "stopped"}
        job.progress = {**job.progress, **changes, "eta_seconds": None}  # a job may be done before its last step
        jobs.move(session, job, event, **data)
        failpoint("end.written")
        self.ended = True

    def _stopped(self, session: Session, job: Job) -> None:
        """The trainer has stopped or was killed: at a user's request, at max_seconds, or because its worker stops."""
        if job.status != JobStatus.RUNNING:
            self._end(session, job, JobEvent.STOP)
        elif self.out_of_time:
            self._fail(session, job, self._timeout())
        else:
            self._end(session, job, JobEvent.RELEASE, reason="its worker shut down")
            failpoint("release.written")

    def _timeout(self) -> Failure:
        message = f"the job exceeded max_seconds ({self._max_seconds:g} s)"
        hint = (
            "retry it to continue from its last checkpoint with the same limit, or clone it with a larger max_seconds"
        )
        return Failure(category="timeout", message=message, hint=hint)

    def _fail(self, session: Session, job: Job, failure: Failure) -> None:
        leases.give_up(session, job, failure)
        self.ended = True

    def _is_over(self) -> bool:
        """Whether the attempt must end although a checkpoint is not stored."""
        return self.attempt.stopping.is_set() or self.out_of_time

    def _end_unstored(self, error: OSError) -> JobStatus:
        """End an attempt whose last checkpoint is lost; the job goes on from the one before."""
        reason = f"cannot store the checkpoint: {error}"
        with self.attempt.transaction() as (session, job):
            if self.attempt.stopping.is_set() and not isinstance(error, Damaged):
                leases.postpone(session, job, f"its worker shut down: {reason}")
                self.ended = True
            elif self.out_of_time and job.status == JobStatus.RUNNING:
                self._fail(session, job, self._timeout())
            else:
                self._fail(session, job, Failure(category="infra", message=reason, hint=SCRATCH_HINT))
            return JobStatus(job.status)

    def end_unless_running(self, status: JobStatus) -> bool:
        """While the job's files are fetched there is nothing to save: end the attempt as soon as it should stop."""
        if status == JobStatus.RUNNING and not self.attempt.stopping.is_set() and not self.out_of_time:
            return False
        self.end()
        return True

    def _end_if_cancelled(self, status: JobStatus) -> bool:
        """While a checkpoint is stored only a cancel ends the attempt: that checkpoint is not needed any more."""
        if status == JobStatus.CANCELLING:
            self.end()
        return status == JobStatus.CANCELLING

    def end(self) -> None:
        """End the attempt whose trainer was killed because it missed its deadline, or was not started yet."""
        with self.attempt.transaction() as (session, job):
            self._stopped(session, job)

    @cached_property
    def _last_lines(self) -> list[TrainerOutput]:
        """The end of the log; cached, because writing it may take two tries and LogLimit returns it once."""
        return self._log_limit.last_lines()

    def lost(self, reason: str) -> None:
        """The trainer died without a last event."""
        hint = "after SIGKILL, the machine may have run out of memory: lower micro_batch_tokens or the batch size"
        with self.attempt.transaction() as (session, job):
            for line in self._last_lines:
                self._write_one(session, job, line, {})
            leases.lose(session, job, Failure(category="lost", message=reason, hint=hint))


def _last_event_last(outputs: list[TrainerOutput]) -> list[TrainerOutput]:
    """In their order, but the event that ends the attempt after all log lines, which come through other pipes."""
    return sorted(outputs, key=lambda output: isinstance(output, Failed | Finished | Stopped))


def _log(session: Session, job: Job, output: LogLine | Warned) -> None:
    if isinstance(output, LogLine):
        events.add(session, job, "log", {"stream": output.stream, "line": output.text})
    else:
        health_notes.add(session, job, output.note)
