"""What a user can do with a job."""

from typing import Any

from hone.documents.status import JobStatus
from hone.errors import Conflict, IllegalMove
from service.domain.jobs import TERMINAL, JobEvent
from service.persistence import checkpoints, events, jobs, outbox
from service.persistence.database import Session
from service.persistence.tables import Job


def cancel(session: Session, owner: str | None, job_id: str) -> Job:
    """Cancel a job: at once if it is queued or paused, else within a step. Asking twice is allowed."""
    return _ask(session, owner, job_id, JobEvent.CANCEL, JobStatus.CANCELLING)


def pause(session: Session, owner: str | None, job_id: str) -> Job:
    """Pause a job: it ends its step, saves and frees its device. Asking twice is allowed."""
    return _ask(session, owner, job_id, JobEvent.PAUSE, JobStatus.PAUSING, JobStatus.PAUSED)


def resume(session: Session, owner: str | None, job_id: str) -> Job:
    """Put a paused job back into the queue. A queued job that waits for its next attempt may start at once, because a
    person has looked at it. Asking twice is allowed.
    """
    job = _ask(session, owner, job_id, JobEvent.RESUME, JobStatus.QUEUED)
    if job.restarts:
        job.not_before, job.restarts = None, 0
        events.add(session, job, "log", {"stream": "hone", "line": "resumed: it is tried again without waiting"})
        outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    return job


def _ask(session: Session, owner: str | None, job_id: str, event: JobEvent, *reached: JobStatus) -> Job:
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status not in reached:
        jobs.move(session, job, event)
    return job


def change(session: Session, owner: str | None, job_id: str, changes: dict[str, Any]) -> Job:
    """Change name, priority or tags; a running job is not interrupted."""
    job = jobs.get(session, job_id, owner, lock=True)
    for name, value in changes.items():
        setattr(job, name, value)
    line = ", ".join(f"{name} is now {value}" for name, value in changes.items())
    events.add(session, job, "log", {"stream": "hone", "line": line})
    return job


def delete(session: Session, owner: str | None, job_id: str) -> None:
    """Delete an ended job with its metrics, samples and checkpoints."""
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
