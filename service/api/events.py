"""The events of a job over HTTP: in pages, as a stream, and the log lines alone."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
from fastapi import Depends, Header, HTTPException, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from hone.documents import EventRead, Page
from hone.errors import NotFound, Unavailable
from service.api.dependencies import Reader, Services, ServicesDep, SessionDep
from service.api.routing import Router
from service.domain.jobs import TERMINAL
from service.domain.storable import LARGEST
from service.persistence import events, jobs
from service.persistence.tables import Event

router = Router(prefix="/v1/jobs/{job_id}", tags=["events"])
After = Annotated[
    int, Query(ge=0, le=LARGEST, description="last sequence number already seen; deleted events are skipped")
]
BATCH = 500
RETRY_SECONDS = 1.0


def _page(session: SessionDep, job_id: str, after: int, limit: int, kinds: list[events.Kind] | None) -> Page[EventRead]:
    rows = events.page(session, job_id, after, limit + 1, kinds)
    return Page.of([_document(event) for event in rows], limit, cursor="seq")


@router.get("/events")
def list_events(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[list[events.Kind] | None, Query(max_length=32, description="only these kinds")] = None,
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


async def _place(
    job_id: str,
    identity: Reader,
    parts: ServicesDep,
    after: After = 0,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=LARGEST, description="last event already seen; browsers send it when they reconnect"),
    ] = None,
) -> int:
    """The last event already seen. 204 if it was the last one of an ended job: EventSource then stops to reconnect."""
    seen = last_event_id if last_event_id is not None else after
    if await parts.admissions.streams.run(partial(_is_over, parts, job_id, identity.visible_owner, seen)):
        raise HTTPException(204)
    return seen


def _is_over(parts: Services, job_id: str, owner: str | None, seen: int) -> bool:
    with parts.database.transaction() as session:
        has_ended = jobs.get(session, job_id, owner).status in TERMINAL
        return has_ended and seen > 0 and not events.page(session, job_id, seen, 1)


@router.get("/stream", response_class=EventSourceResponse, responses={204: {"description": "The job has ended"}})
async def stream_events(
    job_id: str, seen: Annotated[int, Depends(_place)], identity: Reader, parts: ServicesDep
) -> AsyncIterator[ServerSentEvent]:
    """Stream a job's events as they happen. `event: end` follows the last one of an ended job: 204 answers those who
    connect again behind it. The stream ends when its key is revoked, expires or changes.
    """
    with parts.streams.open(identity.key_id, identity.owner, identity.role, job_id) as answer:
        answer.seq = seen
        async with parts.listener.subscribed(events.channel(job_id), answer.news):
            while True:
                answer.news.clear()
                try:
                    batch, has_ended = await _next_events(parts, job_id, answer.seq)
                except NotFound:  # it was deleted
                    return
                except Unavailable:  # the database is away; the stream goes on when it is back
                    await anyio.sleep(RETRY_SECONDS)
                    continue
                for seq, kind, document in batch:
                    if not answer.allowed:
                        return
                    yield ServerSentEvent(raw_data=document, event=kind, id=str(seq))
                    answer.seq = seq
                if has_ended and len(batch) < BATCH:
                    yield ServerSentEvent(data={}, event="end")
                    return
                if len(batch) < BATCH:
                    await answer.news.wait()
                if not answer.allowed:
                    return


async def _next_events(parts: Services, job_id: str, seen: int) -> tuple[list[tuple[int, str, str]], bool]:
    """Number, kind and JSON of the events behind `seen`; and whether the job had ended before they were read."""
    work = partial(_read_events, parts, job_id, seen)
    return await parts.streams.reads.get((job_id, seen), partial(parts.admissions.streams.run, work))


def _read_events(parts: Services, job_id: str, seen: int) -> tuple[list[tuple[int, str, str]], bool]:
    with parts.database.transaction() as session:
        has_ended = jobs.get(session, job_id, None).status in TERMINAL
        rows = events.page(session, job_id, seen, BATCH)
        return [(row.seq, row.kind, _document(row).model_dump_json()) for row in rows], has_ended


def _document(event: Event) -> EventRead:
    return EventRead(
        seq=event.seq,
        kind=event.kind,
        attempt=event.attempt,
        step=event.step,
        created_at=event.created_at,
        data=event.data,
    )
