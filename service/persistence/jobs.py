"""Jobs: adding, finding and moving them. Every move locks the row, so that two never interleave."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, and_, cast, delete, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from service.domain import ids
from service.domain.errors import LeaseLost, NotFound
from service.domain.jobs import HELD, TERMINAL, Failure, JobEvent, JobStatus, Progress, after
from service.domain.specs import JobSpec
from service.persistence import events, outbox
from service.persistence.tables import Checkpoint, Event, Job, Metric, Sample


def add(session: Session, owner: str, spec: JobSpec, idempotency_key: str | None) -> Job:
    """Record a queued job and its first event."""
    job = Job(
        id=ids.new("ftjob-"),
        owner=owner,
        name=spec.name,
        status=JobStatus.QUEUED,
        algorithm=spec.algorithm.type,
        model=spec.model,
        spec=spec.model_dump(mode="json"),
        tags=dict(spec.tags),
        priority=spec.priority,
        gpus=spec.resources.gpus,
        depends_on=spec.depends_on,
        max_restarts=spec.max_restarts,
        idempotency_key=idempotency_key,
        progress=Progress(total_steps=spec.steps).model_dump(),
        metrics={},
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    events.add(session, job, "status", {"status": job.status})
    return job


def get(session: Session, job_id: str, owner: str | None, *, lock: bool = False) -> Job:
    """The job, if `owner` may see it (None: everybody's), or NotFound."""
    job = session.get(Job, job_id, with_for_update=lock or None, populate_existing=lock)
    if job is None or owner not in (None, job.owner):
        raise NotFound(f"no job {job_id}", param="job_id", code="job_not_found")
    return job


def version(session: Session, job_id: str, owner: str | None) -> str | None:
    """The version alone, of a job that `owner` may see: what an unchanged poll costs."""
    row = session.execute(select(Job.version, Job.owner).where(Job.id == job_id)).first()
    return str(row.version) if row is not None and owner in (None, row.owner) else None


def by_idempotency_key(session: Session, owner: str, key: str) -> Job | None:
    """The job that an earlier request with this key made; a request at the same time waits for this one."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{owner}\n{key}", 0))))
    return session.scalar(select(Job).where(Job.owner == owner, Job.idempotency_key == key))


def page(
    session: Session,
    owner: str | None,
    *,
    status: JobStatus | None,
    algorithm: str | None,
    after_id: str | None,
    limit: int,
) -> list[Job]:
    """Newest first; `after_id` is the last one already seen."""
    query = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(Job.owner == owner)
    if status is not None:
        query = query.where(Job.status == status)
    if algorithm is not None:
        query = query.where(Job.algorithm == algorithm)
    if after_id is not None:
        seen = get(session, after_id, owner)
        query = query.where(
            or_(Job.created_at < seen.created_at, and_(Job.created_at == seen.created_at, Job.id < seen.id))
        )
    return list(session.scalars(query))


def blocked_by(session: Session, found: list[Job]) -> dict[str, list[str]]:
    """For each queued job, those of its parents that have not succeeded."""
    parents = {parent for job in found if job.status == JobStatus.QUEUED for parent in job.depends_on}
    if not parents:
        return {}
    done = set(session.scalars(select(Job.id).where(Job.id.in_(parents), Job.status == JobStatus.SUCCEEDED)))
    return {
        job.id: [parent for parent in job.depends_on if parent not in done]
        for job in found
        if job.status == JobStatus.QUEUED
    }


def move(session: Session, job: Job, event: JobEvent, **data: Any) -> None:
    """Apply an event to a locked job and write the status event that tells of it."""
    job.status = after(job.status, event)
    if job.status not in HELD:
        job.lease_owner = job.lease_expires_at = None
    if job.status in TERMINAL:
        job.finished_at = now(session)
        _release_children(session, job)
    if job.status == JobStatus.QUEUED:
        outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    events.add(session, job, "status", {"status": job.status, **data})


def fail(session: Session, job: Job, failure: Failure) -> None:
    """End a locked job badly, saying why."""
    job.failure = failure.model_dump()
    move(session, job, JobEvent.FAIL, failure=job.failure)


def _release_children(session: Session, job: Job) -> None:
    """What waited for this job can start now, or never will; the dispatcher tells them apart."""
    waiting = exists().where(Job.status == JobStatus.QUEUED, Job.depends_on.contains([job.id]))
    if session.scalar(select(waiting)):
        outbox.add(session, outbox.TRAIN, {})


def orphans(session: Session) -> list[tuple[Job, Job]]:
    """Queued jobs, locked, each with a parent that ended without success."""
    parent = aliased(Job)
    bad = (JobStatus.FAILED, JobStatus.CANCELLED)
    query = (
        select(Job, parent)
        .join(parent, parent.id == func.any(Job.depends_on))
        .where(Job.status == JobStatus.QUEUED, parent.status.in_(bad))
        .with_for_update(of=Job, skip_locked=True)
        .limit(100)
    )
    first: dict[str, tuple[Job, Job]] = {}
    for job, failed in session.execute(query):
        first.setdefault(job.id, (job, failed))
    return list(first.values())


def _startable() -> ColumnElement[bool]:
    """Queued, and waiting for nothing but a worker."""
    parent = aliased(Job)
    unfinished = exists().where(parent.id == func.any(Job.depends_on), parent.status != JobStatus.SUCCEEDED)
    return and_(
        Job.status == JobStatus.QUEUED, or_(Job.not_before.is_(None), Job.not_before <= func.now()), ~unfinished
    )


def claim(session: Session, worker: str, free_gpus: int, lease_seconds: float) -> Job | None:
    """Take the best queued job that fits: priority, then age. What is beyond its checkpoint goes."""
    query = (
        select(Job)
        .where(_startable(), Job.gpus <= free_gpus)
        .order_by(Job.priority.desc(), Job.created_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
    )
    job = session.scalar(query)
    if job is None:
        return None
    job.attempt += 1
    job.lease_owner = worker
    job.lease_expires_at = now(session) + timedelta(seconds=lease_seconds)
    job.started_at = job.started_at or now(session)
    rewind(session, job)
    move(session, job, JobEvent.CLAIM, attempt=job.attempt, worker=worker)
    return job


def rewind(session: Session, job: Job) -> None:
    """Remove what an earlier attempt reported beyond the step that this one starts from."""
    whole = select(func.max(Checkpoint.step)).where(Checkpoint.job_id == job.id, ~Checkpoint.damaged)
    step = session.scalar(whole)
    at_start = -1 if step is None else step  # without a checkpoint the evaluation at step 0 is repeated too
    for table in (Metric, Sample, Event):
        session.execute(delete(table).where(table.job_id == job.id, table.step > at_start))
    job.progress = {**job.progress, "step": step or 0, "phase": "starting", "eta_seconds": None}


def peek(session: Session, job_id: str, attempt: int) -> JobStatus:
    """The status, for an attempt that has nothing to write; LeaseLost if it is no longer its job."""
    row = session.execute(select(Job.status, Job.attempt).where(Job.id == job_id)).first()
    if row is None or row.attempt != attempt or row.status not in HELD:
        raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")
    return JobStatus(row.status)


def hold(session: Session, job_id: str, attempt: int, lease_seconds: float) -> Job:
    """The job, locked and its lease renewed, for a write of `attempt`; LeaseLost if it is no longer its job."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.attempt != attempt or job.status not in HELD:
        raise LeaseLost(f"attempt {attempt} no longer holds job {job_id}")
    job.lease_expires_at = now(session) + timedelta(seconds=lease_seconds)
    return job


def expired(session: Session) -> list[Job]:
    """Jobs, locked, whose worker has not beaten for a whole lease."""
    query = (
        select(Job)
        .where(Job.status.in_(HELD), Job.lease_expires_at < func.now())
        .with_for_update(skip_locked=True)
        .limit(100)
    )
    return list(session.scalars(query))


def lose(session: Session, job: Job, failure: Failure) -> None:
    """An attempt came to nothing through no fault of the job's: again, or failed when that was once too often."""
    if job.status == JobStatus.RUNNING and job.restarts >= job.max_restarts:
        message = f"{failure.message}; it was restarted {job.restarts} times (max_restarts)"
        fail(session, job, failure.model_copy(update={"message": message}))
        return
    job.restarts += 1
    job.not_before = now(session) + timedelta(seconds=backoff_seconds(job.restarts))
    move(session, job, JobEvent.LOSE, reason=failure.message, category=failure.category)


def backoff_seconds(restarts: int) -> float:
    """The first restart is at once: a killed worker should cost seconds. Later ones wait 2, 4, 8 ... 60 s."""
    return 0.0 if restarts <= 1 else min(60.0, 2.0 ** (restarts - 1))


def oldest_queued(session: Session) -> datetime | None:
    """When the job was made that has waited longest for a worker; one that waits for a parent does not count."""
    return session.scalar(select(func.min(Job.created_at)).where(_startable()))


def held_by(session: Session, workers: list[str]) -> dict[str, list[str]]:
    """The jobs that each worker runs."""
    rows = session.execute(
        select(Job.lease_owner, func.array_agg(Job.id)).where(Job.lease_owner.in_(workers)).group_by(Job.lease_owner)
    )
    return {str(worker): list(held) for worker, held in rows}


def now(session: Session) -> datetime:
    """The database's clock, read anew: hosts disagree about the time, and a transaction can be long."""
    return session.execute(select(cast(func.clock_timestamp(), DateTime(timezone=True)))).scalar_one()
