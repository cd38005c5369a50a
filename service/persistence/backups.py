"""What a backup must contain at one moment, and what must be corrected after a restore."""

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from service.domain.jobs import HELD, JobEvent
from service.persistence import jobs
from service.persistence.tables import Checkpoint, File, Job, Worker

Contents = dict[str, dict[str, str]]
"""By key of the storage: the SHA-256 of each file in it, by its name; the name is empty where the key is the file."""


def snapshot(session: Session) -> str:
    """Let this transaction read the rows as they are now; pg_dump reads the same ones with the id that is returned."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    return str(session.execute(text("SELECT pg_export_snapshot()")).scalar_one())


def contents(session: Session) -> Contents:
    """Every key that a row names."""
    checkpoints = session.execute(select(Checkpoint.storage_key, Checkpoint.files))
    named = {str(key): {str(file["name"]): str(file["sha256"]) for file in files} for key, files in checkpoints}
    return named | {f"files/{sha256}": {"": str(sha256)} for sha256 in session.scalars(select(File.sha256))}


def hand_back(session: Session) -> list[str]:
    """Queue the jobs again that ran when the backup was made: their workers do not exist here. This is no restart."""
    held = list(session.scalars(select(Job).where(Job.status.in_(HELD)).with_for_update()))
    for job in held:
        jobs.move(session, job, JobEvent.RELEASE, reason="restored from a backup")
    session.execute(delete(Worker))
    return [job.id for job in held]
