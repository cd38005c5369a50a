"""Workers: their last heartbeats, the jobs that they run, and drains."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from hone.documents.status import JobStatus
from hone.errors import NotFound
from service.domain.jobs import HELD, TERMINAL
from service.persistence import outbox
from service.persistence.tables import Event, Job, Worker

ALIVE_SECONDS = 60.0
"""A worker without a heartbeat for longer does not count: it gets no doorbell, and no start is estimated on it."""
REMEMBERED_SECONDS = 3600.0
"""A worker without heartbeats is shown as dead for so long: people want to know when it died and what it ran."""


@dataclass(frozen=True)
class Host:
    """What a worker reports about its machine."""

    gpus: list[dict[str, Any]] = field(default_factory=list)
    memory_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Process:
    """What a worker reports about itself."""

    host: str
    pid: int
    slots: int
    devices: list[str]


@dataclass(frozen=True)
class Run:
    """A job that a worker runs, or ran when it died."""

    id: str
    attempt: int
    since: datetime | None


def beat(session: Session, worker_id: str, process: Process, host: Host | None = None) -> None:
    """Record a heartbeat of a worker."""
    row = {"id": worker_id, **vars(process), **vars(host or Host())}
    statement = insert(Worker).values(row)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": func.clock_timestamp()}))


def alive(session: Session, seconds: float = ALIVE_SECONDS) -> list[Worker]:
    """The workers with a heartbeat within `seconds`."""
    recent = func.now() - timedelta(seconds=seconds)
    return list(session.scalars(select(Worker).where(Worker.beat_at > recent).order_by(Worker.id)))


def remembered(session: Session) -> list[Worker]:
    """Live workers, and dead ones that are still shown."""
    return alive(session, REMEMBERED_SECONDS)


def get(session: Session, worker_id: str) -> Worker:
    """The worker, or NotFound."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        raise NotFound(f"no worker {worker_id}: it has ended, or it never existed", param="worker_id")
    return worker


def remove(session: Session, worker_id: str) -> None:
    """Remove a worker that has ended in order."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def set_draining(session: Session, worker_id: str, *, draining: bool) -> Worker:
    """Drain a worker, or let it claim again; then a doorbell lets it look for jobs."""
    worker = get(session, worker_id)
    session.refresh(worker, with_for_update=True)
    if worker.draining and not draining:
        outbox.add(session, outbox.TRAIN, {})
    worker.draining = draining
    return worker


def is_draining(session: Session, worker_id: str) -> bool:
    """Whether a worker is drained, to be asked first in the transaction of a claim.

    It locks the row, so a drain that comes meanwhile waits for the end of the claim: once the drain is answered,
    nothing more is claimed.
    """
    query = select(Worker.draining).where(Worker.id == worker_id).with_for_update(read=True)
    return bool(session.scalar(query))


def runs(session: Session, rows: Sequence[Worker]) -> dict[str, list[Run]]:
    """The jobs whose lease each worker holds."""
    since = func.coalesce(Job.attempt_started_at, Job.started_at)
    query = select(Job.lease_owner, Job.id, Job.attempt, since).where(
        Job.status.in_(HELD), Job.lease_owner.in_([worker.id for worker in rows])
    )
    return _by_worker(session.execute(query.order_by(since)).all())


def last_runs(session: Session, dead: Sequence[Worker]) -> dict[str, list[Run]]:
    """The jobs that dead workers held when they died, even if other workers hold them now."""
    if not dead:
        return {}
    query = (
        select(Worker.id, Job.id, Event.attempt, Event.created_at)
        .join(Event, Event.job_id == Job.id)
        .join(Worker, Worker.id == Event.data["worker"].astext)
        .where(Worker.id.in_([worker.id for worker in dead]), Event.kind == "status")
        .where(Job.attempt > 0, or_(Job.status.not_in(TERMINAL), Job.finished_at > Worker.beat_at))
        .where(~and_(Job.status == JobStatus.SUCCEEDED, Job.attempt == Event.attempt), ~_ended_before_death())
    )
    return _by_worker(session.execute(query.order_by(Event.created_at)).all())


def _ended_before_death() -> ColumnElement[bool]:
    """The attempt ended while its worker still lived."""
    later = aliased(Event)
    return exists().where(
        later.job_id == Event.job_id,
        later.kind == "status",
        later.attempt == Event.attempt,
        later.seq > Event.seq,
        later.created_at < Worker.beat_at,
        later.data["status"].astext.not_in(HELD),
    )


def _by_worker(rows: Sequence[Any]) -> dict[str, list[Run]]:
    runs_of: dict[str, list[Run]] = {}
    for worker, job_id, attempt, since in rows:
        runs_of.setdefault(worker, []).append(Run(job_id, attempt, since))
    return runs_of
