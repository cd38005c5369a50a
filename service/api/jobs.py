"""Jobs over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from hone.documents import JobChange, JobExtension, JobRead, Page
from hone.documents.status import JobStatus
from service import commands
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.commands import Requester
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import jobs
from service.persistence.database import Session
from service.persistence.jobs import JobFilter
from service.persistence.tables import Job
from service.queue_view import QueueSnapshot, QueueView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="a repeated request with the same key makes no second job"),
]
Retries = Annotated[
    int,
    Header(
        alias="x-stainless-retry-count",
        ge=0,
        description="number of retries, as OpenAI's SDKs send it; above 0 the request is a repetition",
    ),
]


async def _requester(identity: Writer, idempotency_key: IdempotencyKey = None, retries: Retries = 0) -> Requester:
    return Requester(identity.owner, identity.key_id, identity.max_queued, idempotency_key, repeated=retries > 0)


By = Annotated[Requester, Depends(_requester)]


async def _filter(status: JobStatus | None = None, algorithm: str | None = None) -> JobFilter:
    return JobFilter(status, algorithm)


def read(session: Session, view: QueueView, rows: list[Job], *, with_position: bool = True) -> list[JobRead]:
    """Rows as documents; `with_position`: including positions in the queue, which a new job does not have yet."""
    blocked = jobs.blocked_by(session, rows)
    any_queued = with_position and any(job.status == JobStatus.QUEUED for job in rows)
    snapshot = view.snapshot(session) if any_queued else None
    return [_document(job, blocked.get(job.id, []), snapshot) for job in rows]


def _document(job: Job, blocked_by: list[str], snapshot: QueueSnapshot | None) -> JobRead:
    queue = snapshot if job.status == JobStatus.QUEUED else None  # the snapshot may be older than the job's start
    return JobRead(
        id=job.id,
        name=job.name,
        owner=job.owner,
        status=job.status,
        algorithm=job.algorithm,
        model=job.model,
        spec=job.spec,
        spec_version=job.spec_version,
        tags=job.tags,
        priority=job.priority,
        version=job.version,
        attempt=job.attempt,
        restarts=job.restarts,
        ran_seconds=job.ran_seconds,
        retry_of=job.retry_of,
        clone_of=job.clone_of,
        progress=job.progress,
        metrics=job.metrics,
        health_notes=job.health_notes,
        failure=job.failure,
        blocked_by=blocked_by,
        queue_position=queue.positions.get(job.id) if queue else None,
        estimated_start_at=queue.starts.get(job.id) if queue else None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


@router.post("", status_code=201)
def submit_job(spec: JobSpec, by: By, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Queue a training job. Once this has answered, the job is durable."""
    failpoint("request.read")
    job = commands.submit(session, by, spec, parts.settings.model_roots)
    return read(session, parts.queue, [job], with_position=False)[0]


@router.get("")
def list_jobs(
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    filters: Annotated[JobFilter, Depends(_filter)],
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[JobRead]:
    """List jobs, newest first."""
    rows = jobs.page(session, identity.visible_owner, filters, after, limit + 1)
    return Page.of(read(session, parts.queue, rows), limit)


@router.get("/{job_id}")
def get_job(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    response: Response,
    if_none_match: Annotated[
        str | None, Header(description="an ETag; the answer is 304 while the job is unchanged")
    ] = None,
) -> JobRead:
    """Show a job: status, progress, last metrics, attempt, failure."""
    known = if_none_match and if_none_match.removeprefix("W/").strip('"')  # a proxy that compresses makes tags weak
    if known is not None and jobs.version(session, job_id, identity.visible_owner) == known:
        headers = {"etag": f'"{known}"'}
        return Response(status_code=304, headers=headers)  # type: ignore[return-value]  # FastAPI passes it on
    job = jobs.get(session, job_id, identity.visible_owner)
    if job.status != JobStatus.QUEUED:  # what blocks a queued one changes without its version
        response.headers["etag"] = f'"{job.version}"'
    return read(session, parts.queue, [job])[0]


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Stop a job: at once if it is queued, else within a step. Its last checkpoint stays."""
    job = commands.cancel(session, identity.visible_owner, job_id)
    return read(session, parts.queue, [job])[0]


@router.post("/{job_id}/pause")
def pause_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Pause a job: it ends its step, saves and frees its device. A queued job is held back."""
    return read(session, parts.queue, [commands.pause(session, identity.visible_owner, job_id)])[0]


@router.post("/{job_id}/resume")
def resume_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Queue a paused job again. It continues where it was, and ends in the same weights as without the pause."""
    return read(session, parts.queue, [commands.resume(session, identity.visible_owner, job_id)])[0]


@router.post("/{job_id}/retry", status_code=201)
def retry_job(job_id: str, by: By, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Make a new job of the same spec that continues from the last checkpoint of a failed or cancelled job."""
    job = commands.retry(session, by, job_id, identity.visible_owner, parts.settings.model_roots)
    return read(session, parts.queue, [job])[0]


@router.post("/{job_id}/extend", status_code=201)
def extend_job(
    job_id: str, further: JobExtension, by: By, identity: Writer, session: SessionDep, parts: ServicesDep
) -> JobRead:
    """Make a new job of the same spec with more steps or epochs, that continues where a finished job has ended."""
    job = commands.extend(session, by, job_id, identity.visible_owner, parts.settings.model_roots, further)
    return read(session, parts.queue, [job])[0]


@router.post("/{job_id}/clone", status_code=201)
def clone_job(
    job_id: str,
    by: By,
    identity: Writer,
    session: SessionDep,
    parts: ServicesDep,
    changes: Annotated[
        dict[str, Any] | None, Body(description="merged into the spec (RFC 7396); null removes a field")
    ] = None,
) -> JobRead:
    """Make a new job of the same spec, with some fields changed, from the start."""
    try:
        job = commands.clone(session, by, job_id, identity.visible_owner, parts.settings.model_roots, changes or {})
    except ValidationError as error:  # of the merged spec; answered like that of a submitted spec
        errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(errors, body=changes) from None
    return read(session, parts.queue, [job])[0]


@router.patch("/{job_id}")
def change_job(job_id: str, changes: JobChange, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Change a job's name, priority or tags."""
    job = commands.change(session, identity.visible_owner, job_id, changes.model_dump(exclude_unset=True))
    return read(session, parts.queue, [job])[0]


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: str, identity: Writer, session: SessionDep) -> None:
    """Delete an ended job with its metrics, samples and checkpoints."""
    commands.delete(session, identity.visible_owner, job_id)
