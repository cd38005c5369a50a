"""Whether the service lives, whether it is ready, and who works for it."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from service.api.dependencies import Reader, Services, ServicesDep, SessionDep
from service.persistence import claims, jobs, workers
from service.schemas import Page, Readiness, WorkerRead

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(parts: ServicesDep, response: Response) -> Readiness:
    """The parts behind it answer: 503 without the database; without the broker or workers jobs wait (`degraded`)."""
    broker = parts.ringer.answers()
    if not parts.database.answers():
        response.status_code = 503
        return Readiness(status="unavailable", database=False, broker=broker, workers=0, oldest_queued_seconds=None)
    alive, oldest = _workers_and_queue(parts)
    status = "ready" if broker and alive else "degraded"
    return Readiness(status=status, database=True, broker=broker, workers=alive, oldest_queued_seconds=oldest)


def _workers_and_queue(parts: Services) -> tuple[int, float | None]:
    with parts.database.transaction() as session:
        alive = len(workers.alive(session, parts.settings.lease_seconds))
        oldest = claims.oldest_queued(session)
    return alive, (datetime.now(UTC) - oldest).total_seconds() if oldest else None


@router.get("/v1/workers", tags=["workers"])
def list_workers(_: Reader, session: SessionDep, parts: ServicesDep) -> Page[WorkerRead]:
    """Workers that have beaten lately, and what they run."""
    alive = workers.alive(session, parts.settings.lease_seconds)
    held = jobs.held_by(session, [worker.id for worker in alive])
    columns = [name for name in WorkerRead.model_fields if name not in ("object", "jobs")]
    shown = [
        WorkerRead.model_validate({**{n: getattr(worker, n) for n in columns}, "jobs": held.get(worker.id, [])})
        for worker in alive
    ]
    return Page.of(shown, len(shown))
