"""Keeps a job's lease while something takes long: a download, a look at every byte, a storage that hangs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service import logs
from service.domain.errors import HoneError, LeaseLost
from service.domain.jobs import JobStatus
from service.persistence import leases
from service.persistence.database import Database

log = logs.get(__name__)
LOOK_SECONDS = 1.0
Unwanted = Callable[[JobStatus], bool]
"""Asked once a second what the job's status means for what is being done: ends the attempt, and says that it did."""


@contextmanager
def renewed(
    database: Database, job_id: str, attempt: int, lease_seconds: float, unwanted: Unwanted = lambda status: False
) -> Iterator[Callable[[], None]]:
    """Beats beside the block. What it gives raises LeaseLost, as the end of the block does, once the lease was lost or
    the attempt ended by `unwanted`: call it between the pieces of what takes long. The job need not wait for that: what
    was asked for has happened in its row, even while the block hangs.
    """
    over, lost = threading.Event(), threading.Event()
    watch = _Watch(database, job_id, attempt, lease_seconds, unwanted)

    def check() -> None:
        if lost.is_set():
            raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")

    def beat() -> None:
        while not over.wait(min(LOOK_SECONDS, lease_seconds / 3)):
            try:
                if watch.look():
                    lost.set()
                    return
            except HoneError as error:
                log.warning("the lease could not be renewed", job=job_id, error=str(error))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        over.set()
        thread.join()
    check()


class _Watch:
    """Looks at the job's row, and renews the lease when it is time."""

    def __init__(self, database: Database, job_id: str, attempt: int, lease_seconds: float, unwanted: Unwanted) -> None:
        self._database = database
        self._job = job_id
        self._attempt = attempt
        self._lease_seconds = lease_seconds
        self._unwanted = unwanted
        self._renewed = time.monotonic()

    def look(self) -> bool:
        """Whether this attempt is over."""
        try:
            return self._unwanted(self._status())
        except LeaseLost:
            return True

    def _status(self) -> JobStatus:
        now = time.monotonic()
        due = now - self._renewed >= self._lease_seconds / 3
        with self._database.transaction() as session:
            if not due:
                return leases.peek(session, self._job, self._attempt)
            status = JobStatus(leases.hold(session, self._job, self._attempt, self._lease_seconds).status)
        self._renewed = now
        return status
