"""Keys of the storage whose files may go: written in the transaction that removes a row, forgotten when they are gone.

A file goes only when no checkpoint names its key any more. Who writes another row of the same key must lock a row that
names it (`checkpoints.share`); who removes one locks it too. So no key comes back to life between the look and the
deletion.
"""

import re

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from service.domain.jobs import HELD
from service.persistence.tables import Checkpoint, Garbage, Job

ATTEMPT = re.compile(r"^checkpoints/(?P<job>[^/]+)/step-\d+-attempt-(?P<attempt>\d+)$")


def add(session: Session, storage_key: str) -> None:
    """Have a key's files deleted once this transaction has happened, unless a checkpoint still names it."""
    session.add(Garbage(storage_key=storage_key))


def next_after(session: Session, seen: int) -> Garbage | None:
    """The oldest one beyond `seen`, locked; another collector sees the others."""
    query = select(Garbage).where(Garbage.id > seen).order_by(Garbage.id).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))


def wanted(session: Session, storage_key: str) -> bool:
    """Whether a checkpoint names the key."""
    return bool(session.scalar(select(exists().where(Checkpoint.storage_key == storage_key))))


def forget(session: Session, row: Garbage) -> None:
    """It is gone."""
    session.delete(row)


def orphans(session: Session, keys: list[str]) -> list[str]:
    """Those that nobody names and nobody will: an attempt that holds its job may be about to write the row."""
    named = set(session.scalars(select(Checkpoint.storage_key).where(Checkpoint.storage_key.in_(keys))))
    listed = set(session.scalars(select(Garbage.storage_key).where(Garbage.storage_key.in_(keys))))
    matches = {key: ATTEMPT.match(key) for key in keys}
    owners = {match["job"] for match in matches.values() if match}
    held = select(Job.id, Job.attempt).where(Job.id.in_(owners), Job.status.in_(HELD))
    holding = {(job_id, str(attempt)) for job_id, attempt in session.execute(held)}
    return [
        key
        for key, match in matches.items()
        if key not in named | listed and not (match and (match["job"], match["attempt"]) in holding)
    ]
