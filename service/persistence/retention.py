"""What may go: rows that nobody looks for any more. Metrics, checkpoints and the story of a job stay for ever."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, and_, delete, func, select, tuple_
from sqlalchemy.orm import Session

from service.persistence.tables import Delivery, Event, Job, LoginLink, Sample, Worker
from service.persistence.workers import REMEMBERED_SECONDS

KEPT = ("status", "checkpoint")
"""Kinds of events that stay: they are few, and tell how the job went."""
DELIVERY_DAYS = 30


@dataclass(frozen=True)
class Ended:
    """A job that has ended, as a place in their order."""

    finished_at: datetime
    id: str


def ended(session: Session, days: float, after: Ended | None, limit: int) -> list[Ended]:
    """Jobs that ended at least `days` ago, oldest first, beyond the one seen last."""
    query = select(Job.finished_at, Job.id).where(Job.finished_at < func.now() - timedelta(days=days))
    if after is not None:
        query = query.where(tuple_(Job.finished_at, Job.id) > (after.finished_at, after.id))
    rows = session.execute(query.order_by(Job.finished_at, Job.id).limit(limit))
    return [Ended(finished_at, job_id) for finished_at, job_id in rows if finished_at is not None]


def forget(session: Session, job_id: str, most: int) -> bool:
    """Remove up to `most` of a job's events and samples each; whether all are gone."""
    told = select(Event.seq).where(Event.job_id == job_id, Event.kind.not_in(KEPT)).limit(most)
    seen = select(Sample.id).where(Sample.job_id == job_id).limit(most)
    gone = (
        session.execute(delete(Event).where(Event.job_id == job_id, Event.seq.in_(told.scalar_subquery()))),
        session.execute(delete(Sample).where(Sample.id.in_(seen.scalar_subquery()))),
    )
    return all(_count(one) < most for one in gone)


def forget_spent(session: Session, most: int) -> bool:
    """Remove up to `most` each of old deliveries, expired login links and dead workers; whether all are gone."""
    day_ago = func.now() - timedelta(days=1)
    old = and_(Delivery.next_at.is_(None), Delivery.created_at < func.now() - timedelta(days=DELIVERY_DAYS))
    dead = Worker.beat_at < func.now() - timedelta(seconds=REMEMBERED_SECONDS)
    gone = (
        _some(session, Delivery, Delivery.id, old, most),
        _some(session, LoginLink, LoginLink.token_hash, LoginLink.expires_at < day_ago, most),
        _some(session, Worker, Worker.id, dead, most),
    )
    return max(gone) < most


def _some(session: Session, table: Any, key: Any, condition: Any, most: int) -> int:
    which = select(key).where(condition).limit(most)
    return _count(session.execute(delete(table).where(key.in_(which.scalar_subquery()))))


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
