"""The events of a job over HTTP: in pages, as a stream, and the log lines alone."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from hone.documents import EventRead, Page
from service.api.dependencies import Reader, Services, ServicesDep, SessionDep
from service.domain.jobs import TERMINAL
from service.persistence import events, jobs
from service.persistence.tables import Event

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["events"])
After = Annotated[int, Query(ge=0, description="last sequence number already seen; deleted events are skipped")]
BATCH = 500
POLL_SECONDS = 2.0  # the delay that a lost wake-up causes


def _page(session: SessionDep, job_id: str, after: int, limit: int, kinds: list[str] | None) -> Page[EventRead]:
    rows = events.page(session, job_id, after, limit + 1, kinds)
    return Page.of([_document(event) for event in rows], limit, cursor="seq")


@router.get("/events")
def list_events(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[list[str] | None, Query(description="only these kinds")] = None,
) -> Page[EventRead]:
    """List a job's events, oldest first."""
    jobs.get(session, job_id, identity.visible_owner)
    return _page(session, job_id, after, limit, kind)


@router.get("/logs")
def list_logs(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Page[EventRead]:
    """List what the trainer printed and what the service noted about it, oldest first: the events of kind `log`."""
    jobs.get(session, job_id, identity.visible_owner)
    return _page(session, job_id, after, limit, ["log"])


def _visible(job_id: str, identity: Reader, session: SessionDep) -> str:
    return jobs.get(session, job_id, identity.visible_owner).id


@router.get("/stream", response_class=EventSourceResponse)
async def stream_events(
    job_id: Annotated[str, Depends(_visible)],
    parts: ServicesDep,
    after: After = 0,
    last_event_id: Annotated[
        int | None, Header(ge=0, description="last event already seen; browsers send it when they reconnect")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream a job's events as they happen. `event: end` follows the last one of an ended job: do not reconnect."""
    last_seq = last_event_id if last_event_id is not None else after
    async with parts.listener.subscribed(events.channel(job_id)) as wake_up:
        while True:
            wake_up.clear()
            batch, has_ended = await run_sync(_next_events, parts, job_id, last_seq)
            for event in batch:
                last_seq = event.seq
                yield ServerSentEvent(data=event, event=event.kind, id=str(event.seq))
            if has_ended and len(batch) < BATCH:
                yield ServerSentEvent(data={}, event="end")
                return
            if len(batch) < BATCH:
                with anyio.move_on_after(POLL_SECONDS):
                    await wake_up.wait()


def _next_events(parts: Services, job_id: str, last_seq: int) -> tuple[list[EventRead], bool]:
    """The events after `last_seq`, and whether the job had ended before they were read."""
    with parts.database.transaction() as session:
        has_ended = jobs.get(session, job_id, None).status in TERMINAL
        return [_document(event) for event in events.page(session, job_id, last_seq, BATCH)], has_ended


def _document(event: Event) -> EventRead:
    return EventRead(
        seq=event.seq,
        kind=event.kind,
        attempt=event.attempt,
        step=event.step,
        created_at=event.created_at,
        data=event.data,
    )
