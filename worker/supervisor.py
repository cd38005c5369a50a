"""Sees a trainer through: writes what it says, passes on what the user wants, says how it ended."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from service import logs
from service.domain.errors import Unavailable
from service.domain.jobs import JobStatus
from service.failpoints import failpoint
from worker.reporter import Reporter
from worker.trainer_process import TrainerProcess
from worker.training.events import Assignment

log = logs.get(__name__)
T = TypeVar("T")
LOOK_SECONDS = 1.0
CANCEL_SECONDS = 5.0
NEAR_END_SECONDS = 15.0  # about what a trainer needs to import torch on a busy machine


def supervise(
    trainer: TrainerProcess,
    assignment: Assignment,
    reporter: Reporter,
    stopping: threading.Event,
    near_end: Callable[[], None],
) -> None:
    """Until the job ends, the worker stops, or the lease is lost (LeaseLost). `near_end` is called, also repeatedly,
    when the job has seconds left: time to make ready for the next one.
    """
    trainer.start(assignment)
    failpoint("trainer.assigned")
    kill_at: float | None = None
    while (heard := trainer.hear(LOOK_SECONDS)) is not None:
        status = _patiently(partial(reporter.write, heard), stopping)
        if reporter.ended:
            failpoint("end.committed")
            return
        if reporter.seconds_left < NEAR_END_SECONDS:
            near_end()
        if stopping.is_set():
            trainer.kill()
            reporter.release()
            return
        if status == JobStatus.CANCELLING and kill_at is None:
            trainer.cancel()
            failpoint("cancel.passed")
            kill_at = time.monotonic() + CANCEL_SECONDS
        if kill_at is not None and time.monotonic() > kill_at:
            trainer.kill()
            reporter.stopped()
            return
    _patiently(lambda: reporter.lost(trainer.ending()), stopping)


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
