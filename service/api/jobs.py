"""Jobs over HTTP."""

from typing import Annotated, Any

from fastapi import Body, Depends, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from hone.documents import JobChange, JobExtension, JobRead, JobSummary, Page
from hone.documents.queue import WaitsFor
from hone.documents.status import JobStatus
from hone.errors import Invalid
from service import commands
from service.api.answers import refusals
from service.api.cursors import after_id
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.api.routing import Router
from service.commands import Requester
from service.domain.algorithms import AlgorithmType
from service.domain.specs import JobSpec
from service.domain.storable import LARGEST
from service.failpoints import failpoint
from service.persistence import jobs
from service.persistence.database import Session
from service.persistence.jobs import JobFilter
from service.persistence.tables import Job
from service.queue_view import QueueSnapshot, QueueView, waiting_reasons

router = Router(prefix="/v1/jobs", tags=["jobs"])
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="a repeated request with the same key makes no second job"),
]
Retries = Annotated[
    int,
    Header(
        alias="x-stainless-retry-count",
        ge=0,
        le=LARGEST,
        description="number of retries, as OpenAI's SDKs send it; above 0 the request is a repetition",
    ),
]


async def _requester(identity: Writer, idempotency_key: IdempotencyKey = None, retries: Retries = 0) -> Requester:
    return Requester(identity.owner, identity.key_id, identity.max_queued, idempotency_key, repeated=retries > 0)


By = Annotated[Requester, Depends(_requester)]


async def _filter(
    status: JobStatus | None = None,
    algorithm: AlgorithmType | None = None,
    owner: Annotated[
        str | None, Query(max_length=100, description="admins see all owners' jobs, others their own")
    ] = None,
    tag: Annotated[
        list[Annotated[str, Field(max_length=601)]] | None,
        Query(max_length=16, description="`NAME=VALUE`, or `NAME` for any value; several: all of them"),
    ] = None,
) -> JobFilter:
    tags = ((name, value if equals else None) for name, equals, value in (each.partition("=") for each in tag or []))
    return JobFilter(status, algorithm, owner, tuple(tags))


def read(session: Session, view: QueueView, job: Job, *, with_position: bool = True) -> JobRead:
    """A row as a document; `with_position`: including its position in the queue, which a new job does not have yet."""
    (summary,) = summaries(session, view, [job], with_position=with_position)
    return JobRead(**dict(summary), spec=job.spec)


def summaries(session: Session, view: QueueView, rows: list[Job], *, with_position: bool = True) -> list[JobSummary]:
    """Rows as documents without their specs, which are most of their size."""
    blocked = jobs.blocked_by(session, rows)
    queued = [job.id for job in rows if job.status == JobStatus.QUEUED]
    snapshot = None if not queued else view.snapshot(session) if with_position else view.latest
    reasons = waiting_reasons(session, snapshot, queued) if snapshot is not None else {}
    return [_summary(job, blocked.get(job.id, []), snapshot, reasons.get(job.id)) for job in rows]


def _summary(
    job: Job, blocked_by: list[str], snapshot: QueueSnapshot | None, reason: tuple[WaitsFor, str] | None
) -> JobSummary:
    queue = snapshot if job.status == JobStatus.QUEUED else None  # the snapshot may be older than the job's start
    waits_for, why = reason or (None, None)
    return JobSummary(
        id=job.id,
        name=job.name,
        owner=job.owner,
        status=job.status,
        algorithm=job.algorithm,
        model=job.model,
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
        waits_for=waits_for,
        why=why,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


@router.post("", status_code=201, responses=refusals(409, 429))
def submit_job(
    spec: JobSpec,
    by: By,
    session: SessionDep,
    parts: ServicesDep,
    strict_resources: Annotated[bool, Query(description="refuse a job that no live worker could ever run")] = False,  # noqa: FBT002 - a query parameter
) -> JobRead:
    """Queue a training job. Once this has answered, the job is durable."""
    failpoint("request.read")
    job = commands.submit(session, by, spec, parts.settings.model_roots)
    if strict_resources:
        waits_for, why = waiting_reasons(session, parts.queue.snapshot(session), [job.id])[job.id]
        if waits_for == "capacity":
            raise Invalid(f"{why}; lower resources, or start such a worker", param="resources", code="no_such_worker")
    return read(session, parts.queue, job, with_position=False)


@router.get("")
def list_jobs(
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    filters: Annotated[JobFilter, Depends(_filter)],
    after: Annotated[str | None, after_id("ftjob-")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[JobSummary]:
    """List jobs, newest first, without their specs."""
    rows = jobs.page(session, identity.visible_owner, filters, after, limit + 1)
    return Page.of(summaries(session, parts.queue, rows), limit)


@router.get("/{job_id}", responses={304: {"description": "The job has the version of If-None-Match"}})
def get_job(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    response: Response,
    if_none_match: Annotated[
        str | None, Header(max_length=100, description="an ETag; the answer is 304 while the job is unchanged")
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
    return read(session, parts.queue, job)


@router.post("/{job_id}/cancel", responses=refusals(409))
def cancel_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Stop a job: at once if it is queued, else within a step. Its last checkpoint stays."""
    job = commands.cancel(session, identity.visible_owner, job_id)
    return read(session, parts.queue, job)


@router.post("/{job_id}/pause", responses=refusals(409))
def pause_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Pause a job: it ends its step, saves and frees its device. A queued job is held back."""
    return read(session, parts.queue, commands.pause(session, identity.visible_owner, job_id))


@router.post("/{job_id}/resume", responses=refusals(409))
def resume_job(job_id: str, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Queue a paused job again. It continues where it was, and ends in the same weights as without the pause."""
    return read(session, parts.queue, commands.resume(session, identity.visible_owner, job_id))


@router.post("/{job_id}/retry", status_code=201, responses=refusals(409, 429))
def retry_job(job_id: str, by: By, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Make a new job of the same spec that continues from the last checkpoint of a failed or cancelled job."""
    job = commands.retry(session, by, job_id, identity.visible_owner, parts.settings.model_roots)
    return read(session, parts.queue, job)


@router.post("/{job_id}/extend", status_code=201, responses=refusals(409, 429))
def extend_job(
    job_id: str, further: JobExtension, by: By, identity: Writer, session: SessionDep, parts: ServicesDep
) -> JobRead:
    """Make a new job of the same spec with more steps or epochs, that continues where a finished job has ended."""
    job = commands.extend(session, by, job_id, identity.visible_owner, parts.settings.model_roots, further)
    return read(session, parts.queue, job)


@router.post("/{job_id}/clone", status_code=201, responses=refusals(409, 429))
def clone_job(
    job_id: str,
    by: By,
    identity: Writer,
    session: SessionDep,
    parts: ServicesDep,
    changes: Annotated[
        dict[str, Any] | None, Body(max_length=64, description="merged into the spec (RFC 7396); null removes a field")
    ] = None,
) -> JobRead:
    """Make a new job of the same spec, with some fields changed, from the start."""
    try:
        job = commands.clone(session, by, job_id, identity.visible_owner, parts.settings.model_roots, changes or {})
    except ValidationError as error:  # of the merged spec; answered like that of a submitted spec
        errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(errors, body=changes) from None
    return read(session, parts.queue, job)


@router.patch("/{job_id}")
def change_job(job_id: str, changes: JobChange, identity: Writer, session: SessionDep, parts: ServicesDep) -> JobRead:
    """Change a job's name, priority or tags."""
    job = commands.change(session, identity.visible_owner, job_id, changes.model_dump(exclude_unset=True))
    return read(session, parts.queue, job)


@router.delete("/{job_id}", status_code=204, responses=refusals(409))
def delete_job(job_id: str, identity: Writer, session: SessionDep) -> None:
    """Delete an ended job with its metrics, samples and checkpoints."""
    commands.delete(session, identity.visible_owner, job_id)
