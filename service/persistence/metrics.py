"""Metrics: one value per job, name and step."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, Select, Text, case, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on, insert
from sqlalchemy.orm import Session

from service.persistence.tables import Metric


def put(session: Session, job_id: str, step: int, values: dict[str, float]) -> None:
    """Record a step's values; a report that comes twice changes nothing."""
    if values:
        rows = [{"job_id": job_id, "name": name, "step": step, "value": value} for name, value in values.items()]
        session.execute(insert(Metric).values(rows).on_conflict_do_nothing())


@dataclass(frozen=True)
class Place:
    """A point in the order of an answer: by name, then by step."""

    name: str
    step: int


@dataclass(frozen=True)
class SeriesJson:
    """Points of one metric, as the JSON arrays that the API sends; values that are not finite are null."""

    name: str
    steps: str
    values: str
    times: str
    """In seconds since the epoch."""
    last_step: int


@dataclass(frozen=True)
class Selection:
    """Which points of a job."""

    names: list[str] | None = None
    from_step: int | None = None
    to_step: int | None = None
    after: Place | None = None


def series(session: Session, job_id: str, which: Selection, limit: int) -> tuple[list[SeriesJson], bool]:
    """At most `limit` points, and whether there are more. PostgreSQL writes the JSON: rows as objects, or as tuples
    even, would take several times the memory and the processor time.
    """
    points = _points(job_id, which).limit(limit + 1).subquery()
    place = func.row_number().over(order_by=(points.c.name, points.c.step))
    numbered = select(points, place.label("place")).subquery()
    within = numbered.c.place <= limit
    arrays = (_json_array(numbered.c[name], numbered.c.step, within) for name in ("step", "value", "time"))
    last_step = func.max(numbered.c.step).filter(within)
    grouped = select(numbered.c.name, *arrays, last_step, func.max(numbered.c.place)).group_by(numbered.c.name)
    rows = session.execute(grouped.order_by(numbered.c.name)).all()
    has_more = bool(rows) and max(row[-1] for row in rows) > limit
    return [SeriesJson(*row[:-1]) for row in rows if row[1] is not None], has_more


def _points(job_id: str, which: Selection) -> Select[Any]:
    infinite = Metric.value.in_([math.inf, -math.inf, math.nan])
    columns = (
        Metric.name,
        Metric.step,
        case((infinite, None), else_=Metric.value).label("value"),
        cast(func.extract("epoch", Metric.created_at), Double).label("time"),
    )
    query = select(*columns).where(Metric.job_id == job_id).order_by(Metric.name, Metric.step)
    if which.names:
        query = query.where(Metric.name.in_(which.names))
    if which.from_step is not None:
        query = query.where(Metric.step >= which.from_step)
    if which.to_step is not None:
        query = query.where(Metric.step <= which.to_step)
    if which.after is not None:
        query = query.where(tuple_(Metric.name, Metric.step) > tuple_(which.after.name, which.after.step))
    return query


def _json_array(
    column: ColumnElement[Any], order: ColumnElement[Any], within: ColumnElement[bool]
) -> ColumnElement[Any]:
    return cast(func.array_to_json(func.array_agg(aggregate_order_by(column, order)).filter(within)), Text)


def last(session: Session, job_id: str) -> dict[str, float]:
    """The newest value of each metric."""
    newest = select(Metric.name, Metric.value).where(Metric.job_id == job_id).ext(distinct_on(Metric.name))
    return {row.name: row.value for row in session.execute(newest.order_by(Metric.name, Metric.step.desc()))}


def best_step(session: Session, job_id: str, name: str, steps: list[int], *, highest: bool) -> int | None:
    """Of `steps`, the one where the metric was best; the earliest of equals."""
    order = Metric.value.desc() if highest else Metric.value.asc()
    query = select(Metric.step).where(Metric.job_id == job_id, Metric.name == name, Metric.step.in_(steps))
    return session.scalar(query.order_by(order, Metric.step).limit(1))
