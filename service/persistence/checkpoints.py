"""Checkpoints: a row for each complete checkpoint in the storage."""

import re
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hone.errors import NotFound
from service.domain import ids
from service.domain.specs import JOB_MODEL
from service.domain.stored import texts
from service.persistence import garbage
from service.persistence.tables import Checkpoint, Job


def put(
    session: Session, job: Job, step: int, storage_key: str, files: list[Any], metrics: dict[str, float | None]
) -> Checkpoint:
    """Record a checkpoint. If a later attempt writes the checkpoint of a step again, its row is updated."""
    row = session.scalar(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == step))
    if row is None:
        row = Checkpoint(id=ids.new("ckpt_"), job_id=job.id, step=step)
        session.add(row)
    elif row.storage_key != storage_key:
        garbage.add(session, row.storage_key)
    row.attempt, row.storage_key, row.files, row.metrics = job.attempt, storage_key, files, metrics
    row.damaged = False
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


def lock(session: Session, row: Checkpoint) -> Checkpoint | None:
    """The current row, locked against sharing and removal until this transaction ends; None if it was deleted."""
    query = select(Checkpoint).where(Checkpoint.id == row.id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def choose(session: Session, job_id: str, which: str | None) -> Checkpoint | None:
    """The checkpoint that `latest`, `best` or `step-N` means, or None; damaged ones do not count.

    If none is marked as best, `best` means the latest.
    """
    usable = [row for row in of_job(session, job_id) if not row.damaged]
    exact = re.fullmatch(r"step-(\d+)", which or "latest")
    if exact:
        return next((row for row in usable if row.step == int(exact[1])), None)
    best = next((row for row in usable if row.best), None) if which == "best" else None
    return best or (usable[0] if usable else None)


def origin(session: Session, job: Job, name: str) -> Checkpoint | None:
    """The checkpoint that `job:ID@which` in a job's spec means, or None.

    The first call decides it for the job, whatever the parent saves later; it is retained until the job has ended.
    """
    checkpoint_id = job.origins.get(name)
    if checkpoint_id is not None:
        return session.get(Checkpoint, checkpoint_id, populate_existing=True)
    match = JOB_MODEL.match(name)
    while match is not None and (chosen := choose(session, match["job"], match["which"])) is not None:
        still_exists = select(Checkpoint).where(Checkpoint.id == chosen.id).with_for_update(read=True)
        if session.scalar(still_exists.execution_options(populate_existing=True)) is not None:
            job.origins = {**job.origins, name: chosen.id}
            return chosen
    return None


def mark_best(session: Session, job_id: str, step: int) -> None:
    """Mark the checkpoint of one step as the best, and all others as not."""
    session.execute(update(Checkpoint).where(Checkpoint.job_id == job_id).values(best=Checkpoint.step == step))


def mark_damaged(session: Session, checkpoint_id: str) -> None:
    """Mark that the files of a checkpoint differ from its row: no job starts from it any more."""
    session.execute(update(Checkpoint).where(Checkpoint.id == checkpoint_id).values(damaged=True))


def superseded(session: Session, job_id: str, keep_last: int) -> list[Checkpoint]:
    """The checkpoints to delete, locked: neither among the newest, nor best, nor promoted, nor needed by another job.

    Damaged checkpoints do not count among the newest or the best.
    """
    query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()).with_for_update()
    rows = list(session.scalars(query.execution_options(populate_existing=True)))
    usable = [row for row in rows if not row.damaged]
    retained = {row.id for row in usable[:keep_last]} | {row.id for row in usable if row.best}
    candidates = [row for row in rows if row.id not in retained and not row.promoted]
    needed = readers(session, job_id) if candidates else {}  # after locking: decisions that come later wait
    return [row for row in candidates if row.id not in needed]


def readers(session: Session, job_id: str) -> dict[str, str]:
    """By checkpoint of a job, the id of one unfinished job that will start from it."""
    waiting = select(Job.id, Job.spec, Job.origins).where(Job.depends_on.contains([job_id]), Job.finished_at.is_(None))
    reader_of: dict[str, str] = {}
    for child, spec, origins in session.execute(waiting):
        for name in texts(spec):  # wherever a spec names a model, even if only a newer worker can read it
            checkpoint_id = _chosen_id(session, job_id, name, origins)
            if checkpoint_id is not None:
                reader_of.setdefault(checkpoint_id, child)
    return reader_of


def _chosen_id(session: Session, job_id: str, name: str, origins: dict[str, str]) -> str | None:
    match = JOB_MODEL.match(name)
    if match is None or match["job"] != job_id:
        return None
    chosen = None if name in origins else choose(session, job_id, match["which"])
    return origins.get(name) or (chosen.id if chosen else None)


def share(session: Session, row: Checkpoint, job: Job) -> None:
    """Give another job the same checkpoint: a second row for the same files."""
    still_exists = select(Checkpoint).where(Checkpoint.id == row.id).with_for_update(read=True)
    if session.scalar(still_exists.execution_options(populate_existing=True)) is None or row.damaged:
        return  # its files may be about to be deleted
    copied = {name: getattr(row, name) for name in ("step", "storage_key", "bytes", "best", "metrics", "files")}
    session.add(Checkpoint(id=ids.new("ckpt_"), job_id=job.id, attempt=0, **copied))
    session.flush()


def remove(session: Session, row: Checkpoint) -> None:
    """Delete a checkpoint; its files are deleted later, unless another row names them."""
    locked = lock(session, row)
    if locked is not None:
        garbage.add(session, locked.storage_key)
        session.delete(locked)
        session.flush()
