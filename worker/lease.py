"""Keeps a job's lease while something takes long: a download, a look at every byte, a storage that hangs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service import logs
from service.domain.errors import HoneError, LeaseLost
from service.persistence import leases
from service.persistence.database import Database

log = logs.get(__name__)


@contextmanager
def renewed(database: Database, job_id: str, attempt: int, lease_seconds: float) -> Iterator[None]:
    """Beats beside the block; LeaseLost at its end if the lease was lost meanwhile."""
    over, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(lease_seconds / 3):
            try:
                with database.transaction() as session:
                    leases.hold(session, job_id, attempt, lease_seconds)
            except LeaseLost:
                lost.set()
                return
            except HoneError as error:
                log.warning("the lease could not be renewed", job=job_id, error=str(error))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if lost.is_set():
        raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")
