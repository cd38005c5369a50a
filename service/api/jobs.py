"""Jobs over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service import commands
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.commands import Requester
from service.domain.jobs import JobStatus
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import jobs, queue
from service.persistence.database import Session
from service.persistence.tables import Job
from service.schemas import JobChange, JobRead, Page

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, description="a repeated request with it makes no second job")
]
Retries = Annotated[
    int, Header(alias="x-stainless-retry-count", ge=0, description="as OpenAI's SDKs count; above 0 it is a repetition")
]


async def _requester(identity: Writer, idempotency_key: IdempotencyKey = None, retries: Retries = 0) -> Requester:
    return Requester(identity.owner, identity.key_id, identity.max_queued, idempotency_key, repeated=retries > 0)


By = Annotated[Requester, Depends(_requester)]


def read(session: Session, found: list[Job], *, places: bool = True) -> list[JobRead]:
    """Rows as documents; `places`: with those in the queue, which a job that is new has not got yet."""
    blocked = jobs.blocked_by(session, found)
    line = queue.line(session) if places and any(job.status == JobStatus.QUEUED for job in found) else None
    return [
        JobRead.model_validate({**_columns(job), "blocked_by": blocked.get(job.id, []), **_place(job, line)})
        for job in found
    ]


def _columns(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in JobRead.model_fields if hasattr(Job, name)}


def _place(job: Job, line: queue.Line | None) -> dict[str, Any]:
    if line is None or job.status != JobStatus.QUEUED:
        return {}
    return {"queue_position": line.positions.get(job.id), "estimated_start_at": line.starts.get(job.id)}


@router.post("", status_code=201)
def submit_job(spec: JobSpec, by: By, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Queue a training job. Once this has answered, the job is durable. A repeated request makes no second job."""
    failpoint("request.read")
    return read(session, [commands.submit(session, by, spec, parts.settings.model_roots)], places=False)[0]


@router.get("")
def list_jobs(
    identity: Reader,
    session: SessionDep,
    status: JobStatus | None = None,
    algorithm: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[JobRead]:
    """Jobs, newest first."""
    found = jobs.page(session, identity.sees, status=status, algorithm=algorithm, after_id=after, limit=limit + 1)
    return Page.of(read(session, found), limit)


@router.get("/{job_id}")
def get_job(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="an ETag: 304 while the job is unchanged")] = None,
) -> JobRead:
    """A job as it stands: progress, last metrics, attempt, failure."""
    if if_none_match is not None and jobs.version(session, job_id, identity.sees) == if_none_match.strip('"'):
        headers = {"etag": if_none_match}
        return Response(status_code=304, headers=headers)  # type: ignore[return-value]  # FastAPI passes it on
    job = jobs.get(session, job_id, identity.sees)
    if job.status != JobStatus.QUEUED:  # what blocks a queued one changes without its version
        response.headers["etag"] = f'"{job.version}"'
    return read(session, [job])[0]


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, identity: Writer, session: SessionDep) -> JobRead:
    """Stop a job: at once if it waits, else within a step; its last checkpoint stays."""
    job = commands.cancel(session, identity.sees, job_id)
    return read(session, [job])[0]


@router.post("/{job_id}/pause")
def pause_job(job_id: str, identity: Writer, session: SessionDep) -> JobRead:
    """Stop a job for a while: it ends its step, saves and frees its device. One that waits is held back."""
    return read(session, [commands.pause(session, identity.sees, job_id)])[0]


@router.post("/{job_id}/resume")
def resume_job(job_id: str, identity: Writer, session: SessionDep) -> JobRead:
    """Queue a paused job again: it goes on where it was, and ends in the same weights as if it had never stopped."""
    return read(session, [commands.resume(session, identity.sees, job_id)])[0]


@router.post("/{job_id}/retry", status_code=201)
def retry_job(job_id: str, by: By, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """A new job of the same spec that goes on from the last checkpoint of a failed or cancelled one."""
    job = commands.retry(session, by, job_id, identity.sees, parts.settings.model_roots)
    return read(session, [job])[0]


@router.post("/{job_id}/clone", status_code=201)
def clone_job(
    job_id: str,
    by: By,
    identity: Writer,
    session: SessionDep,
    parts: ServicesDep,
    changes: Annotated[dict[str, Any] | None, Body(description="merged into the spec; null removes a field")] = None,
) -> JobRead:
    """A new job of the same spec, with some fields changed, from the start."""
    try:
        job = commands.clone(session, by, job_id, identity.sees, parts.settings.model_roots, changes or {})
    except ValidationError as error:  # of the merged spec: as clear as that of a submitted one
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found, body=changes) from None
    return read(session, [job])[0]


@router.patch("/{job_id}")
def change_job(job_id: str, changes: JobChange, identity: Writer, session: SessionDep) -> JobRead:
    """Give a job another name, priority or tags."""
    job = commands.change(session, identity.sees, job_id, changes.model_dump(exclude_unset=True))
    return read(session, [job])[0]


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: str, identity: Writer, session: SessionDep) -> None:
    """Forget an ended job with its metrics, samples and checkpoints."""
    commands.delete(session, identity.sees, job_id)
