"""Deletes rows that are old enough. Metrics, checkpoints and the status events of a job are never deleted here."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, and_, delete, func, select, tuple_
from sqlalchemy.orm import Session

from service.persistence.tables import Delivery, Event, Job, LoginLink, Sample, Worker
from service.persistence.workers import REMEMBERED_SECONDS

RETAINED_KINDS = ("status", "checkpoint", "loaded")
"""Kinds of events that are retained: they are few, and are the history of the job."""
DELIVERY_DAYS = 30


@dataclass(frozen=True)
class Ended:
    """A job that has ended, with what ended jobs are ordered by."""

    finished_at: datetime
    id: str


def ended(session: Session, days: float, after: Ended | None, limit: int) -> list[Ended]:
    """Jobs that ended at least `days` ago and later than the job `after`, oldest first."""
    query = select(Job.finished_at, Job.id).where(Job.finished_at < func.now() - timedelta(days=days))
    if after is not None:
        query = query.where(tuple_(Job.finished_at, Job.id) > (after.finished_at, after.id))
    rows = session.execute(query.order_by(Job.finished_at, Job.id).limit(limit))
    return [Ended(finished_at, job_id) for finished_at, job_id in rows if finished_at is not None]


def delete_of_job(session: Session, job_id: str, limit: int) -> bool:
    """Delete at most `limit` events and `limit` samples of a job; returns whether none is left."""
    events = select(Event.seq).where(Event.job_id == job_id, Event.kind.not_in(RETAINED_KINDS)).limit(limit)
    samples = select(Sample.id).where(Sample.job_id == job_id).limit(limit)
    deletions = (
        delete(Event).where(Event.job_id == job_id, Event.seq.in_(events.scalar_subquery())),
        delete(Sample).where(Sample.id.in_(samples.scalar_subquery())),
    )
    deleted = [_row_count(session.execute(deletion)) for deletion in deletions]
    return max(deleted) < limit


def delete_expired(session: Session, limit: int) -> bool:
    """Delete at most `limit` each of old deliveries, expired login links and dead workers; whether none is left."""
    day_ago = func.now() - timedelta(days=1)
    is_old = and_(Delivery.next_at.is_(None), Delivery.created_at < func.now() - timedelta(days=DELIVERY_DAYS))
    is_dead = Worker.beat_at < func.now() - timedelta(seconds=REMEMBERED_SECONDS)
    deleted = (
        _delete_some(session, Delivery, Delivery.id, is_old, limit),
        _delete_some(session, LoginLink, LoginLink.token_hash, LoginLink.expires_at < day_ago, limit),
        _delete_some(session, Worker, Worker.id, is_dead, limit),
    )
    return max(deleted) < limit


def _delete_some(session: Session, table: Any, key: Any, condition: Any, limit: int) -> int:
    keys = select(key).where(condition).limit(limit)
    return _row_count(session.execute(delete(table).where(key.in_(keys.scalar_subquery()))))


def _row_count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
