"""Claims: which queued job a worker takes, and within which limits."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hone.documents.status import Failure
from hone.errors import NewerSpec, UnreadableSpec
from service.domain.health_notes import Note
from service.domain.jobs import HELD, JobEvent
from service.domain.specs import JobSpec, ResourcesSpec
from service.domain.stored import StoredSpec
from service.failpoints import failpoint
from service.persistence import clock, health_notes, jobs, leases, order
from service.persistence.tables import Job, Key

Fits = Callable[[ResourcesSpec], bool]
BATCH = 20  # candidates read at once; more are read only if none of them can be claimed


@dataclass(frozen=True)
class Claimed:
    """A claimed job with its parsed spec: nobody parses the row's document again."""

    job: Job
    spec: JobSpec


def claim(
    session: Session,
    worker: str,
    gpus: int,
    lease_seconds: float,
    fits: Fits = lambda _: True,
    unreadable: list[str] | None = None,
) -> Claimed | None:
    """Claim the best queued job that fits: priority, then the owner who runs least, then age.

    A job whose spec cannot be read is skipped, and its id is added to `unreadable`, for `end_unreadable`.
    """
    skipped: list[str] = []
    while candidates := _candidates(session, gpus, skipped):
        for job_id, stored in candidates:
            spec = _runnable(job_id, stored, fits, unreadable)
            job = _locked(session, job_id) if spec else None
            if spec is not None and job is not None and _within_limits(session, job):
                _take(session, job, worker, lease_seconds)
                _log_ignored(session, job, stored)
                return Claimed(job, spec)
            skipped.append(job_id)
    return None


def _runnable(job_id: str, stored: StoredSpec, fits: Fits, unreadable: list[str] | None) -> JobSpec | None:
    """The spec, if this worker can read it and the job fits; a spec of a newer version is left to newer workers."""
    try:
        return stored.spec if fits(stored.resources) else None
    except NewerSpec:
        return None
    except UnreadableSpec:
        if unreadable is not None:
            unreadable.append(job_id)
        return None


def end_unreadable(session: Session, job_id: str) -> None:
    """Fail a queued job whose spec no worker can read.

    Each worker that skipped the job calls this in a transaction of its own; the lock lets one of them do it.
    """
    job = _locked(session, job_id)
    if job is None:
        return
    try:
        _ = StoredSpec(job.spec, job.spec_version).spec
    except NewerSpec:
        return
    except UnreadableSpec as error:
        jobs.fail(session, job, Failure(category="infra", message=error.reason, hint=error.remedy))


def oldest_queued(session: Session) -> datetime | None:
    """When the oldest startable job was made; jobs that wait for a parent or for their next attempt do not count."""
    return session.scalar(select(func.min(Job.created_at)).where(order.startable()))


def _candidates(session: Session, gpus: int, skipped: list[str]) -> list[tuple[str, StoredSpec]]:
    """The next startable jobs in the order of claims, not locked: another worker may claim them first."""
    owners = order.load_by_owner()
    query = (
        select(Job.id, Job.spec, Job.spec_version)
        .outerjoin(owners, owners.c.owner == Job.owner)
        .where(order.startable(), Job.gpus <= gpus, Job.id.not_in(skipped))
        .order_by(*order.by_claim(Job, func.coalesce(owners.c.load, 0)))
        .limit(BATCH)
    )
    return [(row.id, StoredSpec(row.spec, row.spec_version)) for row in session.execute(query)]


def _locked(session: Session, job_id: str) -> Job | None:
    query = select(Job).where(Job.id == job_id, order.startable()).with_for_update(of=Job, skip_locked=True)
    return session.scalar(query.execution_options(populate_existing=True))


def _within_limits(session: Session, job: Job) -> bool:
    """Whether the limits of the job's key allow it to run now. Claims under the same limited key take turns."""
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
    """Begin an attempt: set the lease, and remove what was reported after the job's checkpoint."""
    started = clock.now(session)
    job.attempt += 1
    job.reports = 0
    job.lease_owner = worker
    job.lease_expires_at = started + timedelta(seconds=lease_seconds)
    job.attempt_started_at = started
    job.started_at = job.started_at or started
    job.failure = None  # of an earlier attempt
    leases.rewind(session, job)
    jobs.move(session, job, JobEvent.CLAIM, attempt=job.attempt, worker=worker)
    failpoint("claim.written")


def _log_ignored(session: Session, job: Job, stored: StoredSpec) -> None:
    """Write into the job's log which keys of its spec have no effect."""
    if stored.ignored:
        line = f"this version ignores unknown fields of the spec: {', '.join(stored.ignored)}"
        health_notes.add(session, job, Note("fields_ignored", line, "clone the job without them").at(0))
