"""Recorded responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.persistence.tables import Sample


def add(session: Session, job_id: str, step: int, samples: Sequence[dict[str, Any]]) -> None:
    """Record some responses of a step."""
    if samples:
        session.execute(insert(Sample), [{"job_id": job_id, "step": step, **sample} for sample in samples])


@dataclass(frozen=True)
class SampleFilter:
    """Which responses of a job; None: any."""

    step: int | None = None
    split: Literal["train", "eval"] | None = None
    min_reward: float | None = None
    max_reward: float | None = None


def page(session: Session, job_id: str, filters: SampleFilter, after: int | None, limit: int) -> list[Sample]:
    """Newest first; `after` is the last id already seen."""
    query = select(Sample).where(Sample.job_id == job_id).order_by(Sample.id.desc()).limit(limit)
    if filters.step is not None:
        query = query.where(Sample.step == filters.step)
    if filters.split is not None:
        query = query.where(Sample.split == filters.split)
    if filters.min_reward is not None:
        query = query.where(Sample.reward >= filters.min_reward)
    if filters.max_reward is not None:
        query = query.where(Sample.reward <= filters.max_reward)
    if after is not None:
        query = query.where(Sample.id < after)
    return list(session.scalars(query))
