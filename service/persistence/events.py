"""The one ordered sequence of each job: streams and logs read it."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import CTE, func, insert, literal, select
from sqlalchemy.orm import Session

from service.persistence.database import wake
from service.persistence.tables import Event, Job

Kind = Literal["status", "metrics", "log", "loaded", "preview", "sample", "checkpoint", "note"]


def channel(job_id: str) -> str:
    """The channel of the wake-ups that a job has new events."""
    return f"hone:job:{job_id}"


def add(session: Session, job: Job, kind: Kind, data: dict[str, Any], step: int | None = None) -> None:
    """Add the next event. The job must be locked (or new), which keeps the sequence free of gaps and ties."""
    job.version += 1
    session.add(Event(job_id=job.id, seq=job.version, kind=kind, attempt=job.attempt, step=step, data=data))
    wake_streams(session, job.id)


def first(job: CTE) -> CTE:
    """The statement that adds the first event of a job, as a part of the statement that inserts the job."""
    status = func.jsonb_build_object("status", job.c.status)
    values = select(job.c.id, job.c.version, literal("status"), job.c.attempt, status)
    return insert(Event).from_select(["job_id", "seq", "kind", "attempt", "data"], values).cte("first_event")


def wake_streams(session: Session, job_id: str) -> None:
    """Wake the streams of a job."""
    wake(session, channel(job_id))


def page(session: Session, job_id: str, after: int, limit: int, kinds: Sequence[Kind] | None = None) -> list[Event]:
    """Events after `after`, oldest first."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    if kinds:
        query = query.where(Event.kind.in_(kinds))
    return list(session.scalars(query))


def storable(value: Any) -> Any:
    """The same without NUL characters, at any depth: PostgreSQL's text cannot hold one, and models may write one."""
    if isinstance(value, dict):
        return {name: storable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [storable(part) for part in value]
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """The values, with None for those that are not finite: JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
