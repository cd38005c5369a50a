"""Jobs: adding, finding and moving them. Every move locks the row, so that two moves never interleave."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, insert, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, aliased, defer

from hone.documents.status import Failure, JobStatus, Progress
from hone.errors import NotFound
from service.domain import ids
from service.domain.jobs import HELD, TERMINAL, JobEvent, after
from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION
from service.domain.webhooks import EVENT_OF_STATUS
from service.persistence import checkpoints, clock, deliveries, events, health_notes, metrics, outbox
from service.persistence.tables import Job, Metric, Sample

LATE_MINUTES = 2  # a server may have stood still for so long with a request in its socket
REPEAT_MINUTES = 15  # the OpenAI SDK repeats a request within two waits of ten minutes at most, usually of seconds


@dataclass(frozen=True)
class Origin:
    """The request that made a job, and the job that it was made from."""

    idempotency_key: str | None = None
    request_hash: str | None = None
    key_id: str | None = None
    retry_of: str | None = None
    clone_of: str | None = None
    made_by_repetition: bool = False


@dataclass(frozen=True)
class JobFilter:
    """Filters of a list of jobs; None: any."""

    status: JobStatus | None = None
    algorithm: str | None = None
    owner: str | None = None
    tags: tuple[tuple[str, str | None], ...] = ()
    """Names of tags, with their values or None for any; a job has them all."""

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Those of a query."""
        for column in ("status", "algorithm", "owner"):
            if (value := getattr(self, column)) is not None:
                yield getattr(Job, column) == value
        for name, value in self.tags:
            yield Job.tags.has_key(name) if value is None else Job.tags.contains({name: value})


def add(session: Session, owner: str, spec: JobSpec, origin: Origin) -> Job | None:
    """Record a queued job, its first event and its doorbell; None if the owner has just used the Idempotency-Key.

    One statement does all three, because hundreds of submits may come in a second.
    """
    columns = {
        "id": ids.new("ftjob-"),
        "owner": owner,
        "name": spec.name,
        "status": JobStatus.QUEUED,
        "algorithm": spec.algorithm.type,
        "model": spec.model,
        "spec": spec.model_dump(mode="json"),
        "spec_version": SPEC_VERSION,
        "tags": dict(spec.tags),
        "priority": spec.priority,
        "gpus": spec.resources.gpus,
        "depends_on": spec.depends_on,
        "max_restarts": spec.max_restarts,
        "progress": Progress(total_steps=spec.steps).model_dump(),
        "version": 1,
    }
    values = columns | vars(origin)
    job = session.scalar(_insertion(tuple(values)), {f"new_{name}": values[name] for name in values})
    if job is not None:
        outbox.wake_dispatcher(session)
    return job


@cache
def _insertion(columns: tuple[str, ...]) -> Select[Job]:
    """The statement, cached because building it takes longer than running it.

    WITH new_job AS (INSERT INTO jobs (id, ...) VALUES (:new_id, ...)
                     ON CONFLICT (owner, idempotency_key) DO NOTHING RETURNING *),
         first_event AS (INSERT INTO events (...) SELECT ... FROM new_job),  -- status: queued
         doorbell AS (INSERT INTO outbox (...) SELECT ... FROM new_job)
    SELECT * FROM new_job                                                    -- no row: the key was used before
    """
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    insertion = upsert(Job).values(values).on_conflict_do_nothing(index_elements=["owner", "idempotency_key"])
    new_job = insertion.returning(*Job.__table__.columns).cte("new_job")
    return select(aliased(Job, new_job)).add_cte(events.first(new_job), outbox.doorbell(new_job))


def get(session: Session, job_id: str, owner: str | None, *, lock: bool = False) -> Job:
    """The job, if `owner` may see it (None: any), or NotFound."""
    job = session.get(Job, job_id, with_for_update=lock or None, populate_existing=lock)
    if job is None or owner not in (None, job.owner):
        raise NotFound(f"no job {job_id}", param="job_id", code="job_not_found")
    return job


def version(session: Session, job_id: str, owner: str | None) -> str | None:
    """The version of a job that `owner` may see, or None; a poll of an unchanged job reads nothing else."""
    row = session.execute(select(Job.version, Job.owner).where(Job.id == job_id)).first()
    return str(row.version) if row is not None and owner in (None, row.owner) else None


def versions(session: Session, job_ids: Collection[str]) -> dict[str, int]:
    """The versions of those jobs that exist."""
    rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids)))
    return {row.id: row.version for row in rows}


def by_idempotency_key(session: Session, owner: str, key: str) -> Job | None:
    """The job that an earlier request with this Idempotency-Key made."""
    return session.scalar(select(Job).where(Job.owner == owner, Job.idempotency_key == key))


def lock_requests(session: Session, owner: str, request_hash: str) -> None:
    """Let equal requests of an owner wait until this transaction ends."""
    _lock_until_commit(session, f"{owner}\n{request_hash}")


def by_request_hash(session: Session, owner: str, request_hash: str) -> Job | None:
    """The newest job of the last REPEAT_MINUTES that an equal request made."""
    return session.scalar(_equal_requests(owner, request_hash, REPEAT_MINUTES))


def made_by_repetition(session: Session, owner: str, request_hash: str) -> Job | None:
    """The job of the last LATE_MINUTES that a repetition made before its original came, which is now; once."""
    early = _equal_requests(owner, request_hash, LATE_MINUTES).where(Job.made_by_repetition).with_for_update()
    job = session.scalar(early)
    if job is not None:
        job.made_by_repetition = False
    return job


def _equal_requests(owner: str, request_hash: str, minutes: int) -> Select[Job]:
    recent = Job.created_at > func.now() - timedelta(minutes=minutes)
    same = select(Job).where(Job.owner == owner, Job.request_hash == request_hash, recent)
    return same.order_by(Job.created_at.desc()).limit(1)


def _lock_until_commit(session: Session, name: str) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def count_queued(session: Session, key_id: str) -> int:
    """The number of queued and paused jobs of a key. Other requests with that key wait until this transaction ends."""
    _lock_until_commit(session, f"queue of {key_id}")
    waiting = (JobStatus.QUEUED, JobStatus.PAUSED)
    return session.scalar(select(func.count()).where(Job.key_id == key_id, Job.status.in_(waiting))) or 0


def page(session: Session, owner: str | None, filters: JobFilter, after_id: str | None, limit: int) -> list[Job]:
    """Jobs without their specs, newest first; `after_id` is the last one already seen."""
    query = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    query = query.options(defer(Job.spec, raiseload=True)).where(*filters.conditions())
    if owner is not None:
        query = query.where(Job.owner == owner)
    if after_id is not None:
        query = query.where(_is_older(session, after_id, owner))
    return list(session.scalars(query))


def _is_older(session: Session, job_id: str, owner: str | None) -> ColumnElement[bool]:
    """Than a job, which may be gone: its id then tells its age."""
    row = session.execute(select(Job.created_at, Job.owner).where(Job.id == job_id)).first()
    if row is None or owner not in (None, row.owner):
        return Job.id < job_id
    return or_(Job.created_at < row.created_at, and_(Job.created_at == row.created_at, Job.id < job_id))


def blocked_by(session: Session, rows: list[Job]) -> dict[str, list[str]]:
    """For each queued job, those of its parents that have not succeeded."""
    parents = {parent for job in rows if job.status == JobStatus.QUEUED for parent in job.depends_on}
    if not parents:
        return {}
    done = set(session.scalars(select(Job.id).where(Job.id.in_(parents), Job.status == JobStatus.SUCCEEDED)))
    return {
        job.id: [parent for parent in job.depends_on if parent not in done]
        for job in rows
        if job.status == JobStatus.QUEUED
    }


def move(session: Session, job: Job, event: JobEvent, **data: Any) -> None:
    """Apply an event to a locked job and write the status event that reports it."""
    job.status = after(job.status, event)
    if job.status not in HELD:
        _end_attempt(session, job)
    if job.status in TERMINAL:
        job.finished_at = clock.now(session)
        _release_children(session, job)
    if job.status == JobStatus.QUEUED:
        outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    events.add(session, job, "status", {"status": job.status, **data})
    deliveries.announce(session, job, EVENT_OF_STATUS.get(job.status))


def _end_attempt(session: Session, job: Job) -> None:
    """Add the attempt's running time and clear its lease. A lost attempt counts until its lease expired."""
    if job.attempt_started_at is not None:
        end = clock.now(session)
        end = min(end, job.lease_expires_at or end)
        job.ran_seconds += max(0.0, (end - job.attempt_started_at).total_seconds())
    job.lease_owner = job.lease_expires_at = job.attempt_started_at = None


def fail(session: Session, job: Job, failure: Failure) -> None:
    """End a locked job with a failure."""
    job.failure = failure.model_dump()
    move(session, job, JobEvent.FAIL, failure=job.failure)


def _release_children(session: Session, job: Job) -> None:
    """Send a doorbell if jobs wait for this one: they can start now, or the dispatcher fails them."""
    waiting = exists().where(Job.status == JobStatus.QUEUED, Job.depends_on.contains([job.id]))
    if session.scalar(select(waiting)):
        outbox.add(session, outbox.TRAIN, {})


def unstartable(session: Session) -> list[tuple[Job, Job]]:
    """Queued jobs that can never start, locked, each with a parent that ended without success."""
    parent = aliased(Job)
    bad = (JobStatus.FAILED, JobStatus.CANCELLED)
    query = (
        select(Job, parent)
        .join(parent, parent.id == func.any(Job.depends_on))
        .where(Job.status == JobStatus.QUEUED, parent.status.in_(bad))
        .with_for_update(of=Job, skip_locked=True)
        .limit(100)
    )
    by_id: dict[str, tuple[Job, Job]] = {}
    for job, failed in session.execute(query):
        by_id.setdefault(job.id, (job, failed))
    return list(by_id.values())


def inherit(session: Session, job: Job, earlier: Job) -> None:
    """Let a new job continue an earlier one of the same spec: it gets the checkpoints, whose files are shared, and the
    metrics and samples up to the newest of them.
    """
    job.origins = dict(earlier.origins)
    for row in checkpoints.of_job(session, earlier.id):
        checkpoints.share(session, row, job)
    newest = checkpoints.choose(session, job.id, "latest")
    if newest is None:
        return
    step = newest.step
    for table in (Metric, Sample):
        names = [column.name for column in table.__table__.columns if column.name not in ("job_id", "id")]
        rows = select(literal(job.id), *(table.__table__.c[name] for name in names))
        rows = rows.where(table.job_id == earlier.id, table.step <= step).order_by(table.created_at)
        session.execute(insert(table).from_select(["job_id", *names], rows))
    for told in events.page(session, earlier.id, 0, 100, ["loaded", "preview"]):
        events.add(session, job, cast("events.Kind", told.kind), told.data)
    job.metrics = events.finite(metrics.last(session, job.id))
    job.progress = {**job.progress, "step": step}
    job.health_notes = [*earlier.health_notes]
    health_notes.rewind(job, step)


def remove(session: Session, job: Job) -> None:
    """Delete an ended job with everything that belongs to it."""
    for row in checkpoints.of_job(session, job.id):
        checkpoints.remove(session, row)
    session.delete(job)


def unfinished_children(session: Session, job_id: str) -> list[str]:
    """Ids of unfinished jobs that depend on this one, oldest first."""
    query = select(Job.id).where(Job.depends_on.contains([job_id]), Job.status.not_in(TERMINAL))
    return list(session.scalars(query.order_by(Job.created_at)))
