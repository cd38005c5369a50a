"""The one ordered sequence of each job: everything that is told live comes from it."""

import math
from typing import Any, Literal

from sqlalchemy import CTE, func, insert, literal, select
from sqlalchemy.orm import Session

from service.persistence.database import wake
from service.persistence.tables import Event, Job

Kind = Literal["status", "metrics", "log", "preview", "sample", "checkpoint"]


def channel(job_id: str) -> str:
    """Where news of a job is rung."""
    return f"hone:job:{job_id}"


def add(session: Session, job: Job, kind: Kind, data: dict[str, Any], step: int | None = None) -> None:
    """The next entry. The job must be locked (or new), which keeps the sequence free of gaps and ties."""
    job.version += 1
    session.add(Event(job_id=job.id, seq=job.version, kind=kind, attempt=job.attempt, step=step, data=data))
    tell(session, job.id)


def first(job: CTE) -> CTE:
    """The first entry of a job that is made by the same statement."""
    status = func.jsonb_build_object("status", job.c.status)
    values = select(job.c.id, job.c.version, literal("status"), job.c.attempt, status)
    return insert(Event).from_select(["job_id", "seq", "kind", "attempt", "data"], values).cte("told")


def tell(session: Session, job_id: str) -> None:
    """Wake whoever waits for news of a job."""
    wake(session, channel(job_id))


def page(session: Session, job_id: str, after: int, limit: int, kinds: list[str] | None = None) -> list[Event]:
    """Entries beyond `after`, oldest first."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    if kinds:
        query = query.where(Event.kind.in_(kinds))
    return list(session.scalars(query))


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: what is not finite becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
