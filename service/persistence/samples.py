"""Recorded responses."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.persistence.tables import Sample


def add(session: Session, job_id: str, step: int, samples: Sequence[dict[str, Any]]) -> None:
    """Record some responses of a step."""
    if samples:
        session.execute(insert(Sample), [{"job_id": job_id, "step": step, **sample} for sample in samples])


def page(
    session: Session,
    job_id: str,
    *,
    step: int | None,
    split: str | None,
    min_reward: float | None,
    max_reward: float | None,
    after: int | None,
    limit: int,
) -> list[Sample]:
    """Newest first; `after` is the last id already seen."""
    query = select(Sample).where(Sample.job_id == job_id).order_by(Sample.id.desc()).limit(limit)
    if step is not None:
        query = query.where(Sample.step == step)
    if split is not None:
        query = query.where(Sample.split == split)
    if min_reward is not None:
        query = query.where(Sample.reward >= min_reward)
    if max_reward is not None:
        query = query.where(Sample.reward <= max_reward)
    if after is not None:
        query = query.where(Sample.id < after)
    return list(session.scalars(query))
