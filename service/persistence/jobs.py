"""Jobs: adding, finding and moving them. Every move locks the row, so that two never interleave."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, func, insert, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, aliased

from service.domain import ids
from service.domain.errors import NotFound
from service.domain.jobs import HELD, TERMINAL, Failure, JobEvent, JobStatus, Progress, after
from service.domain.specs import JobSpec
from service.persistence import checkpoints, clock, events, metrics, outbox, webhooks
from service.persistence.tables import Job, Metric, Sample

REPEAT_MINUTES = 15  # the OpenAI SDK repeats a request within two waits of ten minutes at most, usually of seconds


@dataclass(frozen=True)
class Origin:
    """How a job came to be."""

    idempotency_key: str | None = None
    request_hash: str | None = None
    key_id: str | None = None
    retry_of: str | None = None
    clone_of: str | None = None


def add(session: Session, owner: str, spec: JobSpec, origin: Origin) -> Job | None:
    """Record a queued job, its first event and its bell; None if the owner has used the Idempotency-Key at this moment.

    One statement for all three: submits come by the hundred a second.
    """
    columns = {
        "id": ids.new("ftjob-"),
        "owner": owner,
        "name": spec.name,
        "status": JobStatus.QUEUED,
        "algorithm": spec.algorithm.type,
        "model": spec.model,
        "spec": spec.model_dump(mode="json"),
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
        outbox.tell(session)
    return job


@cache
def _insertion(columns: tuple[str, ...]) -> Select[Job]:
    """Made once: to put it together takes longer than to run it."""
    statement = upsert(Job).values({name: bindparam(f"new_{name}") for name in columns})
    unused = statement.on_conflict_do_nothing(index_elements=["owner", "idempotency_key"])
    made = unused.returning(*Job.__table__.columns).cte("made")
    return select(aliased(Job, made)).add_cte(events.first(made), outbox.bell(made))


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
    """The job that an earlier request with this key made."""
    return session.scalar(select(Job).where(Job.owner == owner, Job.idempotency_key == key))


def wait_for_the_same(session: Session, owner: str, request_hash: str) -> None:
    """Let no other request for the same go on until this transaction ends."""
    _queue_up(session, f"{owner}\n{request_hash}")


def by_request_hash(session: Session, owner: str, request_hash: str) -> Job | None:
    """The newest job of the last minutes that asks for the same."""
    recent = Job.created_at > func.now() - timedelta(minutes=REPEAT_MINUTES)
    same = select(Job).where(Job.owner == owner, Job.request_hash == request_hash, recent)
    return session.scalar(same.order_by(Job.created_at.desc()).limit(1))


def _queue_up(session: Session, name: str) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def queued_with(session: Session, key_id: str) -> int:
    """How many jobs of a key wait. Requests with that key take turns until this transaction ends."""
    _queue_up(session, f"queue of {key_id}")
    waiting = (JobStatus.QUEUED, JobStatus.PAUSED)
    return session.scalar(select(func.count()).where(Job.key_id == key_id, Job.status.in_(waiting))) or 0


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
        _let_go(session, job)
    if job.status in TERMINAL:
        job.finished_at = clock.now(session)
        _release_children(session, job)
    if job.status == JobStatus.QUEUED:
        outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    events.add(session, job, "status", {"status": job.status, **data})
    webhooks.announce(session, job)


def _let_go(session: Session, job: Job) -> None:
    """The attempt is over. One that was lost counts until its lease ran out, whenever that was noticed."""
    if job.attempt_started_at is not None:
        end = clock.now(session)
        end = min(end, job.lease_expires_at or end)
        job.ran_seconds += max(0.0, (end - job.attempt_started_at).total_seconds())
    job.lease_owner = job.lease_expires_at = job.attempt_started_at = None


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


def inherit(session: Session, job: Job, earlier: Job) -> None:
    """Have a new job start where an earlier one of the same spec has come to: its checkpoints, and the metrics and
    samples up to the newest of them. The files are shared.
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
    for preview in events.page(session, earlier.id, 0, 10, ["preview"]):
        events.add(session, job, "preview", preview.data)
    job.metrics = events.finite(metrics.last(session, job.id))
    job.progress = {**job.progress, "step": step}


def remove(session: Session, job: Job) -> None:
    """Forget an ended job with all that belongs to it."""
    for row in checkpoints.of_job(session, job.id):
        checkpoints.remove(session, row)
    session.delete(job)


def unfinished_children(session: Session, job_id: str) -> list[str]:
    """Jobs that still need this one."""
    query = select(Job.id).where(Job.depends_on.contains([job_id]), Job.status.not_in(TERMINAL))
    return list(session.scalars(query.order_by(Job.created_at)))
