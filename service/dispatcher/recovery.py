"""Returns lost jobs to the queue, and fails jobs that can never start."""

from hone.documents.status import Failure
from service import logs
from service.failpoints import failpoint
from service.persistence import jobs, leases
from service.persistence.database import Database

log = logs.get(__name__)
LOST = Failure(
    category="lost",
    message="its worker sent no heartbeat for a whole lease",
    hint="look at the worker's host: it may have crashed, lost its network or run out of memory",
)


class Recovery:
    """Two duties of the dispatcher."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def return_lost_jobs(self) -> None:
        """Queue the jobs whose lease has expired."""
        with self._database.transaction() as session:
            lost = leases.expired(session)
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
