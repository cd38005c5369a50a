"""Leases: an attempt holds its job while it renews the lease in time, and may write only while it holds the job."""

from datetime import timedelta

from sqlalchemy import DateTime, delete, func, select
from sqlalchemy.orm import Session

from hone.documents.status import Failure, JobStatus
from hone.errors import LeaseLost
from service.domain.jobs import HELD, JobEvent
from service.persistence import checkpoints, clock, events, health_notes, jobs, metrics
from service.persistence.tables import Event, Job, Metric, Sample

POSTPONED_SECONDS = 30.0


def peek(session: Session, job_id: str, attempt: int) -> JobStatus:
    """The job's status, for an attempt that writes nothing; LeaseLost if the attempt no longer holds the job."""
    row = session.execute(select(Job.status, Job.attempt).where(Job.id == job_id)).first()
    if row is None or row.attempt != attempt or row.status not in HELD:
        raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")
    return JobStatus(row.status)


def hold(session: Session, job_id: str, attempt: int, lease_seconds: float) -> Job:
    """The job, locked and its lease renewed, for a write of `attempt`; LeaseLost if that no longer holds the job."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.attempt != attempt or job.status not in HELD:
        raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")
    job.lease_expires_at = clock.now(session) + timedelta(seconds=lease_seconds)
    return job


def expired(session: Session, server_up_seconds: float = 0.0) -> list[Job]:
    """Jobs, locked, whose lease has expired; none while PostgreSQL has not run for so long."""
    started = func.pg_postmaster_start_time(type_=DateTime(timezone=True))
    could_renew = started <= func.now() - timedelta(seconds=server_up_seconds)
    query = (
        select(Job)
        .where(Job.status.in_(HELD), Job.lease_expires_at < func.now(), could_renew)
        .with_for_update(skip_locked=True)
        .limit(100)
    )
    return list(session.scalars(query))


def give_up(session: Session, job: Job, failure: Failure) -> None:
    """End an attempt, and its job with it unless the infrastructure failed: a full disk may have space again later."""
    if failure.category == "infra":
        lose(session, job, failure)
    else:
        jobs.fail(session, job, failure)


def postpone(session: Session, job: Job, reason: str) -> None:
    """End an attempt because the service's own storage does not answer: no restart of the job, which waits a while."""
    job.not_before = clock.now(session) + timedelta(seconds=POSTPONED_SECONDS)
    jobs.move(session, job, JobEvent.RELEASE, reason=reason)


def lose(session: Session, job: Job, failure: Failure) -> None:
    """End an attempt that was lost through no fault of the job: queue the job again, or fail it at `max_restarts`."""
    if job.status == JobStatus.RUNNING and job.restarts >= job.max_restarts:
        message = f"{failure.message}; it was restarted {job.restarts} times (max_restarts)"
        jobs.fail(session, job, failure.model_copy(update={"message": message}))
        return
    job.restarts += 1
    job.not_before = clock.now(session) + timedelta(seconds=backoff_seconds(job.restarts))
    jobs.move(session, job, JobEvent.LOSE, reason=failure.message, category=failure.category)


def backoff_seconds(restarts: int) -> float:
    """The wait before a restart: none before the first, so a killed worker costs seconds; then 2, 4, 8 ... 60 s."""
    return 0.0 if restarts <= 1 else min(60.0, 2.0 ** (restarts - 1))


def rewind(session: Session, job: Job) -> None:
    """Remove what an earlier attempt reported after the step that this attempt starts from."""
    newest = checkpoints.choose(session, job.id, "latest")
    step = newest.step if newest else None
    at_start = -1 if step is None else step  # without a checkpoint the evaluation at step 0 is repeated too
    for table in (Metric, Sample, Event):
        session.execute(delete(table).where(table.job_id == job.id, table.step > at_start))
    job.metrics = events.finite(metrics.last(session, job.id))
    health_notes.rewind(job, step or 0)
    job.progress = {**job.progress, "step": step or 0, "phase": "starting", "eta_seconds": None}
