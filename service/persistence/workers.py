"""Workers: who is there, when they were last heard of, what they run, and who shall claim nothing more."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from service.domain.errors import NotFound
from service.domain.jobs import HELD, TERMINAL, JobStatus
from service.persistence import outbox
from service.persistence.tables import Event, Job, Worker

REMEMBERED_SECONDS = 3600.0
"""A worker that fell silent is shown as dead for so long: people want to see that one died, when, and with what."""


@dataclass(frozen=True)
class Host:
    """What a worker tells of its machine."""

    gpus: list[dict[str, Any]] = field(default_factory=list)
    memory_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A job that a worker runs, or ran when it died."""

    id: str
    attempt: int
    since: datetime | None


def beat(
    session: Session, worker_id: str, host: str, pid: int, slots: int, devices: list[str], facts: Host | None = None
) -> None:
    """Say that a worker lives."""
    told = facts or Host()
    row = {"id": worker_id, "host": host, "pid": pid, "slots": slots, "devices": devices}
    row |= {"gpus": told.gpus, "memory_bytes": told.memory_bytes, "versions": told.versions}
    statement = insert(Worker).values(row)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": func.clock_timestamp()}))


def alive(session: Session, seconds: float) -> list[Worker]:
    """Those that have beaten within `seconds`."""
    recent = func.now() - timedelta(seconds=seconds)
    return list(session.scalars(select(Worker).where(Worker.beat_at > recent).order_by(Worker.id)))


def remembered(session: Session) -> list[Worker]:
    """The living, and the dead that are not yet forgotten."""
    return alive(session, REMEMBERED_SECONDS)


def get(session: Session, worker_id: str) -> Worker:
    """The worker, or NotFound."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        raise NotFound(f"no worker {worker_id}: it has ended, or it was never here", param="worker_id")
    return worker


def remove(session: Session, worker_id: str) -> None:
    """A worker said goodbye."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def set_draining(session: Session, worker_id: str, draining: bool) -> Worker:
    """Whether a worker claims nothing more. One that may claim again is told to look."""
    worker = get(session, worker_id)
    session.refresh(worker, with_for_update=True)
    if worker.draining and not draining:
        outbox.add(session, outbox.TRAIN, {})
    worker.draining = draining
    return worker


def is_draining(session: Session, worker_id: str) -> bool:
    """To be asked first in the transaction of a claim: a drain that comes meanwhile waits for the claim's end.

    So nothing is claimed any more once the drain was answered.
    """
    query = select(Worker.draining).where(Worker.id == worker_id).with_for_update(read=True)
    return bool(session.scalar(query))


def runs(session: Session, found: Sequence[Worker]) -> dict[str, list[Run]]:
    """The jobs whose lease each worker holds."""
    since = func.coalesce(Job.attempt_started_at, Job.started_at)
    query = select(Job.lease_owner, Job.id, Job.attempt, since).where(
        Job.status.in_(HELD), Job.lease_owner.in_([worker.id for worker in found])
    )
    return _by_worker(session.execute(query.order_by(since)).all())


def last_runs(session: Session, dead: Sequence[Worker]) -> dict[str, list[Run]]:
    """The jobs that dead workers held when they died, whoever has them now."""
    if not dead:
        return {}
    query = (
        select(Worker.id, Job.id, Event.attempt, Event.created_at)
        .join(Event, Event.job_id == Job.id)
        .join(Worker, Worker.id == Event.data["worker"].astext)
        .where(Worker.id.in_([worker.id for worker in dead]), Event.kind == "status")
        .where(Job.attempt > 0, or_(Job.status.not_in(TERMINAL), Job.finished_at > Worker.beat_at))
        .where(~and_(Job.status == JobStatus.SUCCEEDED, Job.attempt == Event.attempt), ~_let_go())
    )
    return _by_worker(session.execute(query.order_by(Event.created_at)).all())


def _let_go() -> ColumnElement[bool]:
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
    found: dict[str, list[Run]] = {}
    for worker, job_id, attempt, since in rows:
        found.setdefault(worker, []).append(Run(job_id, attempt, since))
    return found
