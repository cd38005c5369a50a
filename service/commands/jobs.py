"""What can be done with a job that is there."""

from typing import Any

from service.domain.errors import Conflict, IllegalMove
from service.domain.jobs import TERMINAL, JobEvent, JobStatus
from service.persistence import checkpoints, events, jobs, outbox
from service.persistence.database import Session
from service.persistence.tables import Job


def cancel(session: Session, owner: str | None, job_id: str) -> Job:
    """Ask a job to stop: at once if it waits, else within a step. Asking twice is fine."""
    return _ask(session, owner, job_id, JobEvent.CANCEL, JobStatus.CANCELLING)


def pause(session: Session, owner: str | None, job_id: str) -> Job:
    """Ask a job to end its step, save and free its device. Asking twice is fine."""
    return _ask(session, owner, job_id, JobEvent.PAUSE, JobStatus.PAUSING, JobStatus.PAUSED)


def resume(session: Session, owner: str | None, job_id: str) -> Job:
    """Put a paused job back into the queue. One that waits there for its next try need not wait any longer: somebody
    has looked. Asking twice is fine.
    """
    job = _ask(session, owner, job_id, JobEvent.RESUME, JobStatus.QUEUED)
    if job.restarts:
        job.not_before, job.restarts = None, 0
        events.add(session, job, "log", {"stream": "hone", "line": "resumed: it is tried again without waiting"})
        outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    return job


def _ask(session: Session, owner: str | None, job_id: str, event: JobEvent, *there: JobStatus) -> Job:
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status not in there:
        jobs.move(session, job, event)
    return job


def change(session: Session, owner: str | None, job_id: str, changes: dict[str, Any]) -> Job:
    """Another name, priority or tags; what runs goes on."""
    job = jobs.get(session, job_id, owner, lock=True)
    for name, value in changes.items():
        setattr(job, name, value)
    told = ", ".join(f"{name} is now {value}" for name, value in changes.items())
    events.add(session, job, "log", {"stream": "hone", "line": told})
    return job


def delete(session: Session, owner: str | None, job_id: str) -> None:
    """Forget an ended job, its metrics, samples and checkpoints."""
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status not in TERMINAL:
        raise IllegalMove(f"cannot delete a {job.status} job; cancel it first")
    children = jobs.unfinished_children(session, job_id)
    if children:
        raise Conflict(f"cannot delete job {job_id}: {', '.join(children[:5])} will start from it; cancel that first")
    promoted = [row.id for row in checkpoints.of_job(session, job_id) if row.promoted]
    if promoted:
        raise Conflict(f"cannot delete job {job_id}: its checkpoint {promoted[0]} is promoted; demote it first")
    jobs.remove(session, job)
