"""Sees a trainer through: writes what it says, passes on what the user wants, says how it ended."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service import logs
from service.domain.errors import Unavailable
from service.domain.jobs import JobStatus
from service.failpoints import failpoint
from worker.reporter import Reporter
from worker.trainer_process import TrainerProcess
from worker.training.events import Assignment, Stop

log = logs.get(__name__)
T = TypeVar("T")
LOOK_SECONDS = 1.0
CANCEL_SECONDS = 5.0
OVERTIME_SECONDS = 30.0  # to end a step and save, for a job whose time is up
NEAR_END_SECONDS = 15.0  # about what a trainer needs to import torch on a busy machine


@dataclass(frozen=True)
class Patience:
    """How long a trainer may take, in seconds."""

    grace: float
    """To end its step and save, once the worker is to stop."""
    silence: float
    """Without a sign of life, before it counts as frozen."""


def supervise(
    trainer: TrainerProcess,
    assignment: Assignment,
    reporter: Reporter,
    stopping: threading.Event,
    patience: Patience,
    near_end: Callable[[], None],
) -> None:
    """Until the job ends, the worker stops, or the lease is lost (LeaseLost). `near_end` is called, also repeatedly,
    when the job has seconds left: time to make ready for the next one.
    """
    trainer.start(assignment)
    failpoint("trainer.assigned")
    request = _Request(trainer)
    while (heard := trainer.hear(LOOK_SECONDS)) is not None:
        status = _patiently(partial(reporter.write, reporter.admit(heard)), stopping)
        if reporter.ended:
            failpoint("end.committed")
            return
        if reporter.seconds_left < NEAR_END_SECONDS:
            near_end()
        request.update(status, stopping.is_set(), reporter.out_of_time, patience.grace)
        if request.overdue:
            trainer.kill()
            _patiently(reporter.cut_off, stopping)
            return
        if trainer.silent_seconds > patience.silence:
            trainer.kill()
            how = f"the trainer gave no sign of life for {patience.silence:g} seconds"
            _patiently(partial(reporter.lost, how), stopping)
            return
    _patiently(lambda: reporter.lost(trainer.ending()), stopping)


class _Request:
    """What a trainer is asked to do, and how long it may take."""

    def __init__(self, trainer: TrainerProcess) -> None:
        self._trainer = trainer
        self._asked: Stop | None = None
        self._kill_at = math.inf

    def update(self, status: JobStatus, stopping: bool, out_of_time: bool, grace: float) -> None:
        """Ask for what is wanted now, once. A pause has all the time that it needs, unless the worker stops."""
        wanted: Stop | None = None
        if stopping or out_of_time or status == JobStatus.PAUSING:
            wanted = "pause"
            self._within(grace if stopping else OVERTIME_SECONDS if out_of_time else math.inf)
        if status == JobStatus.CANCELLING:
            wanted = "cancel"
            self._within(CANCEL_SECONDS)
        if wanted and wanted != self._asked:
            self._trainer.ask(wanted)
            failpoint("stop.passed")
            self._asked = wanted

    @property
    def overdue(self) -> bool:
        """Whether it did not do in time what it was asked for."""
        return time.monotonic() > self._kill_at

    def _within(self, seconds: float) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + seconds)


def _patiently(write: Callable[[], T], stopping: threading.Event) -> T:
    """Try until it is written: a database that is away delays the reports and loses none. Unavailable only when the
    worker stops meanwhile: the job's lease will run out, and it starts again from its last checkpoint.
    """
    while True:
        try:
            return write()
        except Unavailable as error:
            if stopping.wait(LOOK_SECONDS):
                raise
            log.warning("the database is away; reports wait", error=str(error))
