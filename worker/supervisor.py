"""Supervises a trainer: writes its events, passes on requests to pause and cancel, reports how it ended."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from hone.documents.status import JobStatus
from hone.errors import Unavailable
from service import logs
from service.failpoints import failpoint
from worker.protocol import Assignment, Stop
from worker.reporter import Reporter
from worker.trainer_process import TrainerProcess

log = logs.get(__name__)
T = TypeVar("T")
READ_SECONDS = 1.0
CANCEL_SECONDS = 5.0
OVERTIME_SECONDS = 30.0  # to end a step and save, for a job whose time is up
NEAR_END_SECONDS = 15.0  # about what a trainer needs to import torch on a busy machine


@dataclass(frozen=True)
class Timeouts:
    """How long a trainer may take, in seconds."""

    grace: float
    """To end its step and save, once the worker is to stop."""
    heartbeat: float
    """Without any output, before it counts as frozen."""


def supervise(
    trainer: TrainerProcess,
    assignment: Assignment,
    reporter: Reporter,
    timeouts: Timeouts,
    near_end: Callable[[], None],
) -> None:
    """Run until the job ends, the worker stops, or the lease is lost (LeaseLost). While the job has only seconds left,
    `near_end` is called, also repeatedly: it prepares for the next job.
    """
    stopping = reporter.attempt.stopping
    trainer.start(assignment)
    failpoint("trainer.assigned")
    request = _StopRequest(trainer)
    while (outputs := trainer.read(READ_SECONDS)) is not None:
        status = _until_written(partial(reporter.write, reporter.admit(outputs)), stopping)
        if reporter.ended:
            failpoint("end.committed")
            return
        if reporter.seconds_left < NEAR_END_SECONDS:
            near_end()
        request.update(status, stopping=stopping.is_set(), out_of_time=reporter.out_of_time, grace=timeouts.grace)
        if request.overdue:
            trainer.kill()
            _until_written(reporter.end, stopping)
            return
        if trainer.seconds_since_output > timeouts.heartbeat:
            trainer.kill()
            reason = f"the trainer sent no heartbeat for {timeouts.heartbeat:g} seconds"
            _until_written(partial(reporter.lost, reason), stopping)
            return
    _until_written(lambda: reporter.lost(trainer.exit_reason()), stopping)


class _StopRequest:
    """The request to pause or cancel that a trainer has got, and its deadline."""

    def __init__(self, trainer: TrainerProcess) -> None:
        self._trainer = trainer
        self._sent: Stop | None = None
        self._kill_at = math.inf

    def update(self, status: JobStatus, *, stopping: bool, out_of_time: bool, grace: float) -> None:
        """Send the request that is due, once. A pause has no deadline, unless the worker stops or the time is up."""
        wanted: Stop | None = None
        if stopping or out_of_time or status == JobStatus.PAUSING:
            wanted = "pause"
            self._within(grace if stopping else OVERTIME_SECONDS if out_of_time else math.inf)
        if status == JobStatus.CANCELLING:
            wanted = "cancel"
            self._within(CANCEL_SECONDS)
        if wanted and wanted != self._sent:
            self._trainer.request_stop(wanted)
            failpoint("stop.passed")
            self._sent = wanted

    @property
    def overdue(self) -> bool:
        """Whether the trainer missed its deadline."""
        return time.monotonic() > self._kill_at

    def _within(self, seconds: float) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + seconds)


def _until_written(write: Callable[[], T], stopping: threading.Event) -> T:
    """Retry while the database is away: reports are delayed, none is lost. Unavailable only if the worker stops
    meanwhile: then the job's lease runs out, and it continues from its last checkpoint.
    """
    while True:
        try:
            return write()
        except Unavailable as error:
            if stopping.wait(READ_SECONDS):
                raise
            log.warning("the database does not answer; reports wait", error=str(error))
