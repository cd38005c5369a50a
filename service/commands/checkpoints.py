"""What can be done with a checkpoint."""

from service.domain.errors import Conflict
from service.domain.jobs import TERMINAL
from service.persistence import checkpoints, jobs
from service.persistence.database import Session
from service.persistence.tables import Checkpoint


def promote(session: Session, owner: str | None, checkpoint_id: str, *, promoted: bool) -> Checkpoint:
    """Keep a checkpoint until it is demoted, whatever its job's `keep_last` says. Asking twice is fine."""
    row = checkpoints.get(session, checkpoint_id, owner)
    if checkpoints.lock(session, row) is None:  # superseded at this moment
        return checkpoints.get(session, checkpoint_id, owner)
    row.promoted = promoted
    return row


def delete_checkpoint(session: Session, owner: str | None, checkpoint_id: str) -> None:
    """Forget a checkpoint that nobody needs; its files go soon after."""
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
        message = f"job {job.id}, which is {job.status}, goes on from checkpoint {row.id}; let it end or cancel it"
        raise Conflict(message, code="checkpoint_used")
    checkpoints.remove(session, row)
