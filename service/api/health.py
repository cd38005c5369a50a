"""Whether the service lives, and whether it is ready."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from service.api.dependencies import Services, ServicesDep
from service.persistence import claims, workers
from service.schemas import Readiness

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
