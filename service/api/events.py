"""The ordered sequence of a job: paged, streamed, and its log lines."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.dependencies import Reader, Services, ServicesDep, SessionDep
from service.domain.jobs import TERMINAL
from service.persistence import events, jobs
from service.schemas import EventRead, Page

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["events"])
After = Annotated[
    int, Query(ge=0, description="the last sequence number already seen; what was removed since is passed over")
]
BATCH = 500
POLL_SECONDS = 2.0  # what a lost wake-up costs


def _page(session: SessionDep, job_id: str, after: int, limit: int, kinds: list[str] | None) -> Page[EventRead]:
    found = events.page(session, job_id, after, limit + 1, kinds)
    return Page.of([EventRead.model_validate(event) for event in found], limit, cursor="seq")


@router.get("/events")
def list_events(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[list[str] | None, Query(description="only these kinds")] = None,
) -> Page[EventRead]:
    """Events, oldest first."""
    jobs.get(session, job_id, identity.sees)
    return _page(session, job_id, after, limit, kind)


@router.get("/logs")
def list_logs(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Page[EventRead]:
    """What the trainer printed and what happened around it, oldest first: the events of kind `log`."""
    jobs.get(session, job_id, identity.sees)
    return _page(session, job_id, after, limit, ["log"])


def _visible(job_id: str, identity: Reader, session: SessionDep) -> str:
    return jobs.get(session, job_id, identity.sees).id


@router.get("/stream", response_class=EventSourceResponse)
async def stream_events(
    job_id: Annotated[str, Depends(_visible)],
    parts: ServicesDep,
    after: After = 0,
    last_event_id: Annotated[int | None, Header(ge=0, description="sent by browsers when they reconnect")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """The same events as they happen. After the last one of an ended job comes `event: end`: do not reconnect."""
    seen = last_event_id if last_event_id is not None else after
    async with parts.listener.waits_for(events.channel(job_id)) as news:
        while True:
            news.clear()
            found, over = await run_sync(_news, parts, job_id, seen)
            for event in found:
                seen = event.seq
                yield ServerSentEvent(data=event, event=event.kind, id=str(event.seq))
            if over and len(found) < BATCH:
                yield ServerSentEvent(data={}, event="end")
                return
            if len(found) < BATCH:
                with anyio.move_on_after(POLL_SECONDS):
                    await news.wait()


def _news(parts: Services, job_id: str, seen: int) -> tuple[list[EventRead], bool]:
    """Events beyond `seen`, and whether the job had ended before they were read."""
    with parts.database.transaction() as session:
        over = jobs.get(session, job_id, None).status in TERMINAL
        return [EventRead.model_validate(event) for event in events.page(session, job_id, seen, BATCH)], over
