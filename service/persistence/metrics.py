"""Metrics: one value per job, name and step."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from service.persistence.tables import Metric


def put(session: Session, job_id: str, step: int, values: dict[str, float]) -> None:
    """Record a step's values; a report that comes twice changes nothing."""
    if values:
        rows = [{"job_id": job_id, "name": name, "step": step, "value": value} for name, value in values.items()]
        session.execute(insert(Metric).values(rows).on_conflict_do_nothing())


def series(
    session: Session, job_id: str, names: list[str] | None, from_step: int | None, to_step: int | None
) -> Iterable[Metric]:
    """Values ordered by name and step."""
    query = select(Metric).where(Metric.job_id == job_id).order_by(Metric.name, Metric.step)
    if names:
        query = query.where(Metric.name.in_(names))
    if from_step is not None:
        query = query.where(Metric.step >= from_step)
    if to_step is not None:
        query = query.where(Metric.step <= to_step)
    return session.scalars(query)


def last(session: Session, job_id: str) -> dict[str, float]:
    """The newest value of each metric."""
    newest = select(Metric.name, Metric.value).where(Metric.job_id == job_id).ext(distinct_on(Metric.name))
    return {row.name: row.value for row in session.execute(newest.order_by(Metric.name, Metric.step.desc()))}


def best_step(session: Session, job_id: str, name: str, steps: list[int], *, highest: bool) -> int | None:
    """Of `steps`, the one where the metric was best; the earliest of equals."""
    order = Metric.value.desc() if highest else Metric.value.asc()
    query = select(Metric.step).where(Metric.job_id == job_id, Metric.name == name, Metric.step.in_(steps))
    return session.scalar(query.order_by(order, Metric.step).limit(1))
