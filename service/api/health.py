"""Health of this process, and readiness of the service."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from hone.documents import Readiness
from service.api.dependencies import ServicesDep
from service.persistence import claims, leadership, workers

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether this process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(parts: ServicesDep, response: Response) -> Readiness:
    """Whether the service is ready: 503 without the database; `degraded` without broker, dispatcher or workers."""
    broker = parts.publisher.answers()
    if not parts.database.answers():
        response.status_code = 503
        return Readiness(
            status="unavailable", database=False, broker=broker, dispatcher=False, workers=0, oldest_queued_seconds=None
        )
    with parts.database.transaction() as session:
        alive = len(workers.alive(session, parts.settings.lease_seconds))
        dispatcher = leadership.has_healthy_leader(session)
        oldest = claims.oldest_queued(session)
    return Readiness(
        status="ready" if broker and dispatcher and alive else "degraded",
        database=True,
        broker=broker,
        dispatcher=dispatcher,
        workers=alive,
        oldest_queued_seconds=(datetime.now(UTC) - oldest).total_seconds() if oldest else None,
    )
