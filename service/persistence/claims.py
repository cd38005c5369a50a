"""Claims: which queued job a worker takes, and within which limits."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from service.domain.jobs import HELD, JobEvent, JobStatus
from service.domain.specs import ResourcesSpec
from service.failpoints import failpoint
from service.persistence import clock, jobs, leases
from service.persistence.tables import Job, Key

Fits = Callable[[ResourcesSpec], bool]
BATCH = 20  # candidates looked at together; more only where none of them can be taken


def startable() -> ColumnElement[bool]:
    """Queued, and waiting for nothing but a worker."""
    parent = aliased(Job)
    unfinished = exists().where(parent.id == func.any(Job.depends_on), parent.status != JobStatus.SUCCEEDED)
    alone = func.cardinality(Job.depends_on) == 0
    due = or_(Job.not_before.is_(None), Job.not_before <= func.now())
    return and_(Job.status == JobStatus.QUEUED, due, or_(alone, ~unfinished))


def claim(session: Session, worker: str, gpus: int, lease_seconds: float, fits: Fits = lambda _: True) -> Job | None:
    """Take the best queued job that fits: priority, then the owner who runs least, then age."""
    passed: list[str] = []
    while candidates := _candidates(session, gpus, passed):
        for job_id, resources in candidates:
            job = _locked(session, job_id) if fits(ResourcesSpec.model_validate(resources)) else None
            if job is not None and _within_limits(session, job):
                _take(session, job, worker, lease_seconds)
                return job
            passed.append(job_id)
    return None


def oldest_queued(session: Session) -> datetime | None:
    """When the job was made that has waited longest for a worker; one that waits for a parent does not count."""
    return session.scalar(select(func.min(Job.created_at)).where(startable()))


def _candidates(session: Session, gpus: int, passed: list[str]) -> list[tuple[str, dict[str, object]]]:
    """The next ones in order, not locked: they may be gone when they are looked at."""
    weight = func.sum(func.greatest(Job.gpus, 1)).label("weight")
    load = select(Job.owner, weight).where(Job.status.in_(HELD)).group_by(Job.owner).subquery()
    query = (
        select(Job.id, Job.spec["resources"])
        .outerjoin(load, load.c.owner == Job.owner)
        .where(startable(), Job.gpus <= gpus, Job.id.not_in(passed))
        .order_by(Job.priority.desc(), func.coalesce(load.c.weight, 0), Job.created_at, Job.id)
        .limit(BATCH)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def _locked(session: Session, job_id: str) -> Job | None:
    query = select(Job).where(Job.id == job_id, startable()).with_for_update(of=Job, skip_locked=True)
    return session.scalar(query.execution_options(populate_existing=True))


def _within_limits(session: Session, job: Job) -> bool:
    """Whether the key that the job was submitted with may run it now. Claims under one limited key take turns."""
    key = session.get(Key, job.key_id) if job.key_id else None
    if key is None or (key.max_running is None and key.max_gpus is None):
        return True
    if not session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"key {key.id}", 0)))):
        return False
    held = select(func.count(), func.coalesce(func.sum(Job.gpus), 0)).where(Job.key_id == key.id, Job.status.in_(HELD))
    running, gpus = session.execute(held).one()
    return running < _limit(key.max_running) and gpus + job.gpus <= _limit(key.max_gpus)


def _limit(number: int | None) -> float:
    return float("inf") if number is None else number


def _take(session: Session, job: Job, worker: str, lease_seconds: float) -> None:
    """The lease, and the rewind: what is beyond the job's checkpoint goes."""
    started = clock.now(session)
    job.attempt += 1
    job.reports = 0
    job.lease_owner = worker
    job.lease_expires_at = started + timedelta(seconds=lease_seconds)
    job.attempt_started_at = started
    job.started_at = job.started_at or started
    job.failure = None  # of an attempt before
    leases.rewind(session, job)
    jobs.move(session, job, JobEvent.CLAIM, attempt=job.attempt, worker=worker)
    failpoint("claim.written")
