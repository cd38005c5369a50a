"""What the dispatcher does, and time."""

from datetime import timedelta

from sqlalchemy import func, select, update

from machine.model import HELD
from machine.workers import Workers
from service.persistence.tables import Job, Outbox


class Dispatching(Workers):
    """Leases run out, doorbells are sent, jobs that can never start fail."""

    def a_lease_runs_out(self) -> None:
        """Its worker is frozen: it wakes up later and writes on, perhaps beside the next one."""
        held = [job for job in self.jobs.values() if job.status in HELD]
        if not held:
            return
        job = self.choose(held)
        with self.service.database.transaction() as session:
            past = func.clock_timestamp() - timedelta(seconds=1)
            session.execute(update(Job).where(Job.id == job.id).values(lease_expires_at=past))
        self.service.dispatcher.recovery.return_lost_jobs()
        self.count_loss(job)
        if self.choose([True, False]):
            self.time_passes()
            self.claim()

    def unstartable_jobs_fail(self) -> None:
        """And then the children of those."""
        self.service.dispatcher.recovery.fail_unstartable_jobs()
        unstartable = self.jobs.unstartable()
        for job in unstartable:
            job.status = "failed"
        if unstartable:
            self.unstartable_jobs_fail()

    def doorbells_are_sent(self) -> None:
        self.service.dispatcher.doorbells.send()
        with self.service.database.transaction() as session:
            assert session.scalar(select(func.count()).select_from(Outbox)) == 0
        self.with_doorbell |= {job.id for job in self.jobs.startable()}

    def time_passes(self) -> None:
        """Enough of it for every back-off. No doorbell says so: workers poll every few seconds."""
        self.with_doorbell |= {job.id for job in self.jobs.values() if job.backing_off}
        with self.service.database.transaction() as session:
            session.execute(update(Job).values(not_before=None))
        for job in self.jobs.values():
            job.backing_off = False
