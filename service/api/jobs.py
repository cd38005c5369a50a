"""Jobs over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from service import commands
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.domain.jobs import JobStatus
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import jobs
from service.persistence.database import Session
from service.persistence.tables import Job
from service.schemas import JobRead, Page

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, description="a repeated request with it makes no second job")
]


def read(session: Session, found: list[Job]) -> list[JobRead]:
    """Rows as documents."""
    blocked = jobs.blocked_by(session, found)
    return [JobRead.model_validate({**_columns(job), "blocked_by": blocked.get(job.id, [])}) for job in found]


def _columns(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in JobRead.model_fields if name not in ("object", "blocked_by")}


@router.post("", status_code=201)
def submit_job(
    spec: JobSpec, identity: Writer, session: SessionDep, parts: ServicesDep, idempotency_key: IdempotencyKey = None
) -> JobRead:
    """Queue a training job. Once this has answered, the job is durable."""
    failpoint("request.read")
    job = commands.submit(session, identity.owner, spec, parts.settings.model_roots, idempotency_key)
    return read(session, [job])[0]


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
