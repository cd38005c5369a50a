"""What a user can do with a checkpoint."""

from hone.errors import Conflict
from service.domain.jobs import TERMINAL
from service.persistence import checkpoints, jobs
from service.persistence.database import Session
from service.persistence.tables import Checkpoint


def promote(session: Session, owner: str | None, checkpoint_id: str, *, promoted: bool) -> Checkpoint:
    """Retain a checkpoint until it is demoted, whatever its job's `keep_last` says. Asking twice is allowed."""
    row = checkpoints.get(session, checkpoint_id, owner)
    if checkpoints.lock(session, row) is None:  # it was superseded meanwhile
        return checkpoints.get(session, checkpoint_id, owner)
    row.promoted = promoted
    return row


def delete_checkpoint(session: Session, owner: str | None, checkpoint_id: str) -> None:
    """Delete a checkpoint that no job needs; its files are deleted soon after."""
    row = checkpoints.get(session, checkpoint_id, owner)
    job = jobs.get(session, row.job_id, owner, lock=True)
    if checkpoints.lock(session, row) is None:
        return
    if row.promoted:
        raise Conflict(f"checkpoint {row.id} is promoted; demote it first", code="checkpoint_promoted")
    reader = checkpoints.readers(session, job.id).get(row.id)
    if reader is not None:
        raise Conflict(f"job {reader} starts from checkpoint {row.id}; let it end or cancel it", code="checkpoint_used")
    newest = checkpoints.choose(session, job.id, "latest")
    if job.status not in TERMINAL and newest is not None and newest.id == row.id:
        message = f"job {job.id}, which is {job.status}, continues from checkpoint {row.id}; let it end or cancel it"
        raise Conflict(message, code="checkpoint_used")
    checkpoints.remove(session, row)
