"""The queue over HTTP."""

from typing import Annotated

from fastapi import Query

from hone.documents import QueueRead
from service.api.dependencies import Reader, ServicesDep, SessionDep
from service.api.routing import Router
from service.domain.storable import LARGEST
from service.queue_view import page

router = Router(prefix="/v1/queue", tags=["queue"])


@router.get("")
def show_queue(
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="last position already seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> QueueRead:
    """List queued jobs in the order in which workers will claim them, and how busy the service is."""
    snapshot = parts.queue.snapshot(session)
    jobs = page(session, snapshot, identity.visible_owner, after, limit + 1)
    return QueueRead(
        running=snapshot.running,
        queued=len(snapshot.ids),
        paused=snapshot.paused,
        slots=snapshot.slots,
        gpus=snapshot.gpus,
        data=jobs[:limit],
        has_more=len(jobs) > limit,
    )
