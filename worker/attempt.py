"""One attempt of one job: the claim, the scratch folder, and the lease without which nothing is written.

with attempt.transaction() as (session, job):    # locks the job and renews its lease; LeaseLost if it is not ours
    events.add(session, job, "log", ...)

with attempt.renewing(end_if_unwanted) as check:      # around slow work: downloads, hashes, a storage that hangs
    for piece in download():
        write(piece)
        check()                                  # LeaseLost once the attempt is over
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hone.documents.status import JobStatus
from hone.errors import HoneError, LeaseLost
from service import logs
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import leases
from service.persistence.database import Database, Session
from service.persistence.tables import Job
from service.storage.store import Storage
from service.threads import LoopThread
from worker.scratch import Scratch

log = logs.get(__name__)
CHECK_SECONDS = 1.0
EndIfUnwanted = Callable[[JobStatus], bool]
"""Called with the job's status: ends the attempt and returns True if nobody wants the current work any more."""


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds, and the attempt that every write must carry."""

    job_id: str
    attempt: int
    spec: JobSpec
    owner: str
    devices: list[int]
    ran_seconds: float = 0.0
    """The running time of the attempts before."""

    @property
    def name(self) -> str:
        """Names the attempt, not only the job: a worker may claim a job again while an earlier attempt cleans up."""
        return f"{self.job_id}, attempt {self.attempt}"


@dataclass
class Attempt:
    """What every part of the worker that runs a job needs. Its methods may be called from several threads."""

    claim: Claim
    database: Database
    storage: Storage
    scratch: Scratch
    lease_seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the worker shuts down."""
    _renewed_at: float = field(init=False, default_factory=time.monotonic)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.claim.job_id

    @property
    def spec(self) -> JobSpec:
        """The job's spec as it was when the job was claimed; the row's spec is not read again."""
        return self.claim.spec

    @property
    def renewal_is_due(self) -> bool:
        """Whether a third of the lease has passed since it was renewed."""
        return time.monotonic() - self._renewed_at >= self.lease_seconds / 3

    def hold(self, session: Session) -> Job:
        """The job, locked and its lease renewed; LeaseLost if this attempt no longer holds it."""
        job = leases.hold(session, self.job_id, self.claim.attempt, self.lease_seconds)
        failpoint("lease.renewed")
        return job

    def peek(self) -> JobStatus:
        """The job's status, without a lock or renewal; LeaseLost if this attempt no longer holds it."""
        with self.database.transaction() as session:
            return leases.peek(session, self.job_id, self.claim.attempt)

    def renew(self) -> JobStatus:
        """Renew the lease and return the job's status; LeaseLost if this attempt no longer holds it."""
        with self.transaction() as (_, job):
            return JobStatus(job.status)

    @contextmanager
    def transaction(self) -> Iterator[tuple[Session, Job]]:
        """A transaction that holds the job: every write of an attempt happens in one."""
        now = time.monotonic()  # before the query: the lease ends no earlier than counted from here
        with self.database.transaction() as session:
            yield session, self.hold(session)
        self._renewed_at = now  # after the commit: a renewal that was rolled back is still due

    @contextmanager
    def renewing(self, end_if_unwanted: EndIfUnwanted = lambda status: False) -> Iterator[Callable[[], None]]:
        """Keep the lease until the block ends. Gives `check`, which raises LeaseLost once the lease is lost or
        `end_if_unwanted` has ended the attempt; the end of the block raises it too.

        A thread reads the job's row once a second, renews the lease when that is due, and calls `end_if_unwanted`. So a
        cancel does not wait for the block, which may hang.
        """
        keeper = _LeaseKeeper(self, end_if_unwanted)
        keeper.start()
        try:
            yield keeper.check
        finally:
            keeper.stop()
        keeper.check()


class _LeaseKeeper:
    """The thread of `Attempt.renewing`."""

    def __init__(self, attempt: Attempt, end_if_unwanted: EndIfUnwanted) -> None:
        self._attempt = attempt
        self._end_if_unwanted = end_if_unwanted
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = LoopThread(self._run, "lease")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        if self._lost.is_set():
            claim = self._attempt.claim
            raise LeaseLost(f"attempt {claim.attempt} no longer holds job {claim.job_id}")

    def _run(self) -> None:
        while not self._done.wait(min(CHECK_SECONDS, self._attempt.lease_seconds / 3)):
            try:
                if self._attempt_is_over():
                    self._lost.set()
                    return
            except HoneError as error:
                log.warning("the lease could not be renewed", job=self._attempt.job_id, error=str(error))

    def _attempt_is_over(self) -> bool:
        try:
            status = self._attempt.renew() if self._attempt.renewal_is_due else self._attempt.peek()
            return self._end_if_unwanted(status)
        except LeaseLost:
            return True
