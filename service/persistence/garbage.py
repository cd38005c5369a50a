"""Storage keys to delete: written in the transaction that removes a row, removed when their files are deleted.

Files are deleted only when no checkpoint names their key. A transaction that adds a row of the same key
(`checkpoints.share`) or removes one locks a row that names the key. So no row of the key can appear between the check
and the deletion.
"""

import re

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from service.domain.jobs import HELD
from service.persistence.tables import Checkpoint, Garbage, Job

ATTEMPT = re.compile(r"^checkpoints/(?P<job>[^/]+)/step-\d+-attempt-(?P<attempt>\d+)$")


def add(session: Session, storage_key: str) -> None:
    """Let the files of a key be deleted after the commit, unless a checkpoint still names it."""
    session.add(Garbage(storage_key=storage_key))


def next_after(session: Session, last_id: int) -> Garbage | None:
    """The oldest row after `last_id`, locked; rows that another collector has locked are skipped."""
    query = select(Garbage).where(Garbage.id > last_id).order_by(Garbage.id).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))


def is_needed(session: Session, storage_key: str) -> bool:
    """Whether a checkpoint names the key."""
    return bool(session.scalar(select(exists().where(Checkpoint.storage_key == storage_key))))


def remove(session: Session, row: Garbage) -> None:
    """Remove the row of a key whose files are deleted."""
    session.delete(row)


def unreferenced(session: Session, keys: list[str]) -> list[str]:
    """The keys that no row names or will name. An attempt that holds its job may be about to write a row."""
    referenced = set(session.scalars(select(Checkpoint.storage_key).where(Checkpoint.storage_key.in_(keys))))
    already_listed = set(session.scalars(select(Garbage.storage_key).where(Garbage.storage_key.in_(keys))))
    matches = {key: ATTEMPT.match(key) for key in keys}
    job_ids = {match["job"] for match in matches.values() if match}
    held = select(Job.id, Job.attempt).where(Job.id.in_(job_ids), Job.status.in_(HELD))
    running = {(job_id, str(attempt)) for job_id, attempt in session.execute(held)}
    return [
        key
        for key, match in matches.items()
        if key not in referenced | already_listed and not (match and (match["job"], match["attempt"]) in running)
    ]
