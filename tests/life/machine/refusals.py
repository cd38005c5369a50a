"""What the service should refuse, and how."""

from dataclasses import dataclass

from machine.model import BAD, ENDED, LEADS, Job, Jobs, Spec

MOST_WAITING = {"bob": 2}
"""How many jobs of an owner's key may wait."""


@dataclass(frozen=True)
class Refusal:
    """An answer that says no."""

    status: int
    code: str
    param: str | None = None
    names: str = ""
    """What the message must name."""


NOT_YOURS = Refusal(404, "job_not_found", "job_id")


def of_a_verb(job: Job, verb: str) -> Refusal | None:
    """Of a pause, a resumption, a cancellation."""
    return None if job.status in LEADS[verb] else _forbidden(job, verb)


def of_a_new_job(jobs: Jobs, owner: str, spec: Spec) -> Refusal | None:
    """Of one that could never start, or one too many."""
    waiting = [job for job in jobs.values() if job.owner == owner and job.status in ("queued", "paused")]
    if len(waiting) >= MOST_WAITING.get(owner, len(waiting) + 1):
        return Refusal(429, "limit_reached", names="max_queued")
    if spec.parent is None:
        return None
    parent, param = jobs.get(spec.parent), "model" if spec.reads else "depends_on.0"
    if parent is None or parent.owner != owner:
        return Refusal(422, "invalid_value", param, f"no job {spec.parent}")
    if parent.status in BAD:
        return Refusal(422, "invalid_value", param, f"has {parent.status}")
    if spec.reads and parent.status == "succeeded" and not parent.checkpoints:
        return Refusal(422, "invalid_value", param, "has no checkpoint")
    return None


def of_a_retry(jobs: Jobs, job: Job) -> Refusal | None:
    """Of one that did not fail, or whose spec would be refused."""
    return of_a_new_job(jobs, job.owner, job.spec) if job.status in BAD else _forbidden(job, "retry")


def of_deleting(jobs: Jobs, job: Job) -> Refusal | None:
    """Of what lives, what others wait for, what was to be kept."""
    if job.status not in ENDED:
        return _forbidden(job, "delete")
    if jobs.children(job):
        return Refusal(409, "conflict", names=jobs.children(job)[0].id)
    return Refusal(409, "conflict", names="promoted") if any(job.checkpoints.values()) else None


def of_deleting_a_checkpoint(jobs: Jobs, job: Job, step: int) -> Refusal | None:
    """Of one that was to be kept, or that something starts from."""
    if job.checkpoints[step]:
        return Refusal(409, "checkpoint_promoted")
    readers = [child for child in jobs.children(job) if child.spec.reads]
    if step == job.saved and (readers or job.status not in ENDED):
        return Refusal(409, "checkpoint_used")
    return None


def _forbidden(job: Job, verb: str) -> Refusal:
    return Refusal(409, "invalid_state", names=f"cannot {verb} a {job.status} job")
