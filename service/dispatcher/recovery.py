"""Returns lost jobs to the queue, and fails jobs that can never start."""

import math
import time

from hone.documents.status import Failure
from service import logs
from service.failpoints import failpoint
from service.persistence import jobs, leases
from service.persistence.database import Database

log = logs.get(__name__)
ROUNDS_SECONDS = 3.0  # between answers are no outage
LOST = Failure(
    category="lost",
    message="its worker sent no heartbeat for a whole lease",
    hint="look at the worker's host: it may have crashed, lost its network or run out of memory",
)


class Recovery:
    """Two duties of the dispatcher. It judges leases only as long as their workers could renew them.

    While the database was away no worker could, and the workers are not back before the dispatcher is. So after an
    outage, and after a time in which this process itself stood still, perhaps with all others, workers have one lease's
    time. The start of the database counts as well, because this process may be as young.
    """

    def __init__(self, database: Database, lease_seconds: float = 0.0, outage_seconds: float | None = None) -> None:
        """`outage_seconds` without an answer of the database are an outage; by default a third of a lease, or some
        rounds if that is longer.
        """
        self._database = database
        self._lease_seconds = lease_seconds
        self._outage_seconds = max(lease_seconds / 3, ROUNDS_SECONDS) if outage_seconds is None else outage_seconds
        self._answered_at: float | None = None
        self._unbroken_since = -math.inf

    def database_answered(self) -> None:
        """To be called as often as the database answers, also while another dispatcher leads."""
        now = time.monotonic()
        if self._answered_at is not None and now - self._answered_at > self._outage_seconds:
            log.info("the database was away; leases are judged again in a while", seconds=round(self._lease_seconds))
            self._unbroken_since = now
        self._answered_at = now

    def return_lost_jobs(self) -> None:
        """Queue the jobs whose lease has expired."""
        if time.monotonic() - self._unbroken_since < self._lease_seconds:
            return
        with self._database.transaction() as session:
            lost = leases.expired(session, self._lease_seconds)
            for job in lost:
                failpoint("lost.found")
                log.warning("a lease ran out", job=job.id, attempt=job.attempt, worker=job.lease_owner)
                leases.lose(session, job, LOST)
        if lost:
            failpoint("lost.committed")

    def fail_unstartable_jobs(self) -> None:
        """Fail the jobs that depend on a job that failed or was cancelled."""
        with self._database.transaction() as session:
            for job, parent in jobs.unstartable(session):
                message = f"it depends on job {parent.id}, which has {parent.status}"
                jobs.fail(session, job, Failure(category="user", message=message, hint="retry the parent, then submit"))
