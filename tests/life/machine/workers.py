"""What workers do, as they do it: by rows, each write with its attempt."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from sqlalchemy import func, update

from hone.documents.status import Failure
from hone.errors import LeaseLost
from machine import model
from machine.model import HELD, KEPT
from machine.world import WORKER, Holder, World
from service.domain.jobs import JobEvent
from service.persistence import checkpoints, claims, events, jobs, leases, metrics
from service.persistence.database import Session
from service.persistence.tables import Job

LOST = Failure(category="lost", message="silence")
BAD = Failure(category="user", message="wrong")
LEASE = 3600.0  # none runs out by itself, however slow the machine is
LONG = timedelta(hours=1)
ACTS = st.lists(st.sampled_from(["report", "report", "save"]), min_size=1, max_size=5)
LAST_ACTS = ["report", "report", "report", "finish", "fail", "stop", "trainer_dies"]  # as often as not it goes on
STOPPED = {"running": "queued", "pausing": "paused", "cancelling": "cancelled"}


class Workers(World):
    """As many as there were claims; those that were given up do not know it."""

    def claim(self) -> Holder | None:
        """The first in the line; nothing when nothing can start."""
        startable = self.jobs.startable()
        with self.service.database.transaction() as session:
            claimed = claims.claim(session, WORKER, 0, LEASE)
            found = (claimed.job.id, claimed.job.attempt) if claimed else None
        if startable:
            job = startable[0]
            job.status, job.attempt = "running", job.attempt + 1
            job.rewind()
            self.claims.append((job.id, job.attempt))
        assert found == (self.claims[-1] if startable else None)
        return found

    def work(self) -> None:
        """One goes on that has claimed something at any time; most often one that still holds its job."""
        holding = [(job.id, job.attempt) for job in self.jobs.values() if job.status in HELD]
        if not holding:
            self.claim()
        if self.claims:
            holder = self.choose([*self.claims, *3 * (holding or self.claims[-1:])])
            for act in [*self.data.draw(ACTS), self.choose(LAST_ACTS)]:
                getattr(self, act)(holder)

    def _write(self, holder: Holder, act: Callable[[Session, Job], None]) -> model.Job | None:
        """A worker's write: refused, and without effect, unless it still holds the job."""
        job = self.jobs.get(holder[0])
        if job is None or job.status not in HELD or job.attempt != holder[1]:
            with pytest.raises(LeaseLost), self.service.database.transaction() as session:
                act(session, leases.hold(session, *holder, LEASE))
            return None
        with self.service.database.transaction() as session:
            act(session, leases.hold(session, *holder, LEASE))
        return job

    def _last_step(self, holder: Holder) -> int:
        return max(self.jobs[holder[0]].reports, default=0) if holder[0] in self.jobs else 0

    def report(self, holder: Holder) -> None:
        step = self._last_step(holder) + 1

        def act(session: Session, job: Job) -> None:
            metrics.put(session, job.id, step, {"train/loss": float(holder[1])})
            events.add(session, job, "metrics", {"step": step, "metrics": {"train/loss": float(holder[1])}}, step)

        job = self._write(holder, act)
        if job:
            job.reports[step] = job.attempt

    def save(self, holder: Holder) -> None:
        step = self._last_step(holder)
        key = f"checkpoints/{holder[0]}/step-{step}-attempt-{holder[1]}"

        def act(session: Session, job: Job) -> None:
            files = [{"name": "model.safetensors", "bytes": 1, "sha256": "0"}]
            row = checkpoints.put(session, job, step, key, files, {})
            for old in checkpoints.superseded(session, job.id, KEPT):
                checkpoints.remove(session, old)
            events.add(session, job, "checkpoint", {"id": row.id, "step": step}, step)
            job.restarts = 0

        job = self._write(holder, act)
        if job:
            job.save(step)
            self.stored.add(key)

    def finish(self, holder: Holder) -> None:
        self._end(holder, lambda session, job: jobs.move(session, job, JobEvent.FINISH), "succeeded")

    def fail(self, holder: Holder) -> None:
        self._end(holder, lambda session, job: jobs.fail(session, job, BAD), "failed")

    def stop(self, holder: Holder) -> None:
        """Asked by a user; or by the worker, which shuts down."""
        status = self.jobs[holder[0]].status if holder[0] in self.jobs else ""
        event = JobEvent.STOP if status in ("pausing", "cancelling") else JobEvent.RELEASE
        self._end(holder, lambda session, job: jobs.move(session, job, event), STOPPED.get(status, status))

    def _end(self, holder: Holder, act: Callable[[Session, Job], None], status: str) -> None:
        job = self._write(holder, act)
        if job:
            job.status = status

    def trainer_dies(self, holder: Holder) -> None:
        job = self._write(holder, lambda session, job: leases.lose(session, job, LOST))
        if job:
            self.count_loss(job)

    def count_loss(self, job: model.Job) -> None:
        """It waits before it is tried again; how long is for `time_passes` to say."""
        job.lose()
        if job.backing_off:
            with self.service.database.transaction() as session:
                session.execute(update(Job).where(Job.id == job.id).values(not_before=func.now() + LONG))
