"""Checkpoints: one row for each whole one in the storage."""

import re
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.domain import ids
from service.domain.errors import NotFound
from service.domain.specs import JOB_MODEL, JobSpec
from service.persistence import garbage
from service.persistence.tables import Checkpoint, Job


def put(
    session: Session, job: Job, step: int, storage_key: str, files: list[Any], metrics: dict[str, float | None]
) -> Checkpoint:
    """Record a checkpoint, or that a step's checkpoint was written again by a later attempt."""
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
    """The row as it is now, which nobody may share or remove until this transaction ends; None if it is gone."""
    query = select(Checkpoint).where(Checkpoint.id == row.id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def choose(session: Session, job_id: str, which: str | None) -> Checkpoint | None:
    """The checkpoint that `latest`, `best` or `step-N` means; `best` without a marked one is the latest. A damaged one
    is none.
    """
    found = [row for row in of_job(session, job_id) if not row.damaged]
    exact = re.fullmatch(r"step-(\d+)", which or "latest")
    if exact:
        return next((row for row in found if row.step == int(exact[1])), None)
    best = next((row for row in found if row.best), None) if which == "best" else None
    return best or (found[0] if found else None)


def origin(session: Session, job: Job, name: str) -> Checkpoint | None:
    """What `job:ID@which` means to a job: decided when it is first asked for, and from then on the same, whatever its
    parent saves later. It stays until the job has ended.
    """
    decided = job.origins.get(name)
    if decided is not None:
        return session.get(Checkpoint, decided, populate_existing=True)
    match = JOB_MODEL.match(name)
    while match is not None and (found := choose(session, match["job"], match["which"])) is not None:
        shared = select(Checkpoint).where(Checkpoint.id == found.id).with_for_update(read=True)
        if session.scalar(shared.execution_options(populate_existing=True)) is not None:
            job.origins = {**job.origins, name: found.id}
            return found
    return None


def mark_best(session: Session, job_id: str, step: int) -> None:
    """Make one checkpoint the best and no other."""
    session.execute(update(Checkpoint).where(Checkpoint.job_id == job_id).values(best=Checkpoint.step == step))


def mark_damaged(session: Session, checkpoint_id: str) -> None:
    """Its files are not what the row says: nothing starts from it any more."""
    session.execute(update(Checkpoint).where(Checkpoint.id == checkpoint_id).values(damaged=True))


def superseded(session: Session, job_id: str, keep_last: int) -> list[Checkpoint]:
    """Those, locked, that are neither among the newest nor the best nor promoted nor what another job starts from.
    Damaged ones only take room.
    """
    query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()).with_for_update()
    found = list(session.scalars(query.execution_options(populate_existing=True)))
    whole = [row for row in found if not row.damaged]
    stay = {row.id for row in whole[:keep_last]} | {row.id for row in whole if row.best}
    old = [row for row in found if row.id not in stay and not row.promoted]
    read = readers(session, job_id) if old else {}  # after the locks: who decided before is seen, who comes later waits
    return [row for row in old if row.id not in read]


def readers(session: Session, job_id: str) -> dict[str, str]:
    """For each checkpoint of a job that others will start from, one of those, by their ids."""
    waiting = select(Job.id, Job.spec, Job.origins).where(Job.depends_on.contains([job_id]), Job.finished_at.is_(None))
    found: dict[str, str] = {}
    for child, spec, origins in session.execute(waiting):
        for name in JobSpec.model_validate(spec).models.values():
            meant = _meant(session, job_id, name, origins)
            if meant is not None:
                found.setdefault(meant, child)
    return found


def _meant(session: Session, job_id: str, name: str, origins: dict[str, str]) -> str | None:
    match = JOB_MODEL.match(name)
    if match is None or match["job"] != job_id:
        return None
    chosen = None if name in origins else choose(session, job_id, match["which"])
    return origins.get(name) or (chosen.id if chosen else None)


def share(session: Session, row: Checkpoint, job: Job) -> None:
    """Have another job own the same checkpoint: one more row, the same files."""
    still = select(Checkpoint).where(Checkpoint.id == row.id).with_for_update(read=True)
    if session.scalar(still.execution_options(populate_existing=True)) is None or row.damaged:
        return  # its files may be on their way out
    copied = {name: getattr(row, name) for name in ("step", "storage_key", "bytes", "best", "metrics", "files")}
    session.add(Checkpoint(id=ids.new("ckpt_"), job_id=job.id, attempt=0, **copied))
    session.flush()


def remove(session: Session, row: Checkpoint) -> None:
    """Forget a checkpoint; its files go later, unless another row names them."""
    found = lock(session, row)
    if found is not None:
        garbage.add(session, found.storage_key)
        session.delete(found)
        session.flush()
