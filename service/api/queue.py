"""The queue over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Reader, SessionDep
from service.persistence import queue
from service.schemas import QueuedRead, QueueRead, Room

router = APIRouter(prefix="/v1/queue", tags=["queue"])


@router.get("")
def show_queue(
    identity: Reader,
    session: SessionDep,
    after: Annotated[int, Query(ge=0, description="the last position already seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> QueueRead:
    """Queued jobs in the order in which they would be claimed if nothing changed, and how full the service is."""
    found = [QueuedRead.model_validate(place) for place in queue.page(session, identity.sees, after, limit + 1)]
    counts = queue.line(session).counts
    return QueueRead(
        running=counts.running,
        queued=counts.queued,
        paused=counts.paused,
        slots=Room(free=counts.free_slots, all=counts.slots),
        gpus=Room(free=counts.free_gpus, all=counts.gpus),
        data=found[:limit],
        has_more=len(found) > limit,
    )
