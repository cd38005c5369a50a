"""Checkpoints: one row for each whole one in the storage."""

import re
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.domain import ids
from service.domain.errors import NotFound
from service.persistence.tables import Checkpoint, Garbage, Job


def put(
    session: Session, job: Job, step: int, storage_key: str, files: list[Any], metrics: dict[str, float | None]
) -> Checkpoint:
    """Record a checkpoint, or that a step's checkpoint was written again by a later attempt."""
    row = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == step))
    if row is None:
        row = Checkpoint(id=ids.new("ckpt_"), job_id=job.id, step=step)
        session.add(row)
    row.attempt, row.storage_key, row.files, row.metrics = job.attempt, storage_key, files, metrics
    row.bytes = sum(file["bytes"] for file in files)
    session.flush()
    return row


def get(session: Session, checkpoint_id: str, owner: str | None) -> Checkpoint:
    """The checkpoint, if `owner` may see it, or NotFound."""
    query = select(Checkpoint).join(Job, Job.id == Checkpoint.job_id).where(Checkpoint.id == checkpoint_id)
    row = session.scalar(query if owner is None else query.where(Job.owner == owner))
    if row is None:
        raise NotFound(f"no checkpoint {checkpoint_id}", param="checkpoint_id", code="checkpoint_not_found")
    return row


def of_job(session: Session, job_id: str) -> list[Checkpoint]:
    """A job's checkpoints, newest first."""
    return list(session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())))


def choose(session: Session, job_id: str, which: str | None) -> Checkpoint | None:
    """The checkpoint that `latest`, `best` or `step-N` means; `best` without a marked one is the latest."""
    found = of_job(session, job_id)
    exact = re.fullmatch(r"step-(\d+)", which or "latest")
    if exact:
        return next((row for row in found if row.step == int(exact[1])), None)
    best = next((row for row in found if row.best), None) if which == "best" else None
    return best or (found[0] if found else None)


def mark_best(session: Session, job_id: str, step: int) -> None:
    """Make one checkpoint the best and no other."""
    session.execute(update(Checkpoint).where(Checkpoint.job_id == job_id).values(best=Checkpoint.step == step))


def superseded(session: Session, job_id: str, keep_last: int) -> list[Checkpoint]:
    """Those that are neither among the newest nor the best nor wanted by name by a job that is still to start."""
    from_step = select(Job.model).where(Job.model.like(f"job:{job_id}@step-%"), Job.finished_at.is_(None))
    wanted = {int(model.rpartition("-")[2]) for model in session.scalars(from_step)}
    old = of_job(session, job_id)[keep_last:]
    return [row for row in old if not row.best and row.step not in wanted]


def remove(session: Session, row: Checkpoint) -> None:
    """Forget a checkpoint; its files go later, unless another row names them."""
    session.add(Garbage(storage_key=row.storage_key))
    session.delete(row)


def share(session: Session, row: Checkpoint, job: Job) -> None:
    """Have another job own the same checkpoint: one more row, the same files."""
    session.refresh(row, with_for_update={"read": True})  # it must not go before the copy is there
    copied = {name: getattr(row, name) for name in ("step", "storage_key", "bytes", "best", "metrics", "files")}
    session.add(Checkpoint(id=ids.new("ckpt_"), job_id=job.id, attempt=0, **copied))
    session.flush()
