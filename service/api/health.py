"""Health of this process, and readiness of the service."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar

import anyio
from fastapi import Response

from hone.documents import Readiness
from hone.errors import HoneError
from service.api.dependencies import Services, ServicesDep
from service.api.routing import Router
from service.persistence import claims, leadership, workers

router = Router(tags=["health"])
T = TypeVar("T")
DEADLINE_SECONDS = 3.0
"""After which a server that has not answered counts as away; a server that hangs would not answer for minutes."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether this process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Readiness, "description": "The database does not answer"}})
async def readyz(parts: ServicesDep, response: Response) -> Readiness:
    """Whether the service is ready: 503 without database; `degraded` without broker, storage, dispatcher or workers.

    Each of them has three seconds to answer.
    """
    rows: _Rows | None = None
    broker = storage = False

    async def ask_database() -> None:
        nonlocal rows
        rows = await _within_deadline(parts, "database", partial(_read_rows, parts))

    async def ask_broker() -> None:
        nonlocal broker
        broker = bool(await _within_deadline(parts, "broker", parts.publisher.answers))

    async def ask_storage() -> None:
        nonlocal storage
        storage = bool(await _within_deadline(parts, "storage", parts.storage.answers))

    async with anyio.create_task_group() as asking:
        asking.start_soon(ask_database)
        asking.start_soon(ask_broker)
        asking.start_soon(ask_storage)
    readiness = _readiness(rows, broker=broker, storage=storage)
    response.status_code = 200 if readiness.database else 503
    return readiness


@dataclass(frozen=True)
class _Rows:
    workers: int
    dispatcher: bool
    oldest: datetime | None


def _read_rows(parts: Services) -> _Rows:
    with parts.database.transaction() as session:
        return _Rows(
            len(workers.alive(session, parts.settings.lease_seconds)),
            leadership.has_healthy_leader(session),
            claims.oldest_queued(session),
        )


def _readiness(rows: _Rows | None, *, broker: bool, storage: bool) -> Readiness:
    status: Literal["ready", "degraded", "unavailable"] = "degraded"
    if rows is None:
        status, rows = "unavailable", _Rows(0, dispatcher=False, oldest=None)
        database = False
    else:
        database = True
        if broker and storage and rows.dispatcher and rows.workers:
            status = "ready"
    return Readiness(
        status=status,
        database=database,
        broker=broker,
        storage=storage,
        dispatcher=rows.dispatcher,
        workers=rows.workers,
        oldest_queued_seconds=(datetime.now(UTC) - rows.oldest).total_seconds() if rows.oldest else None,
    )


async def _within_deadline(parts: Services, name: str, ask: Callable[[], T]) -> T | None:
    """None if it fails or takes too long; the next request waits for the same call, so one thread hangs, not many."""
    try:
        with anyio.fail_after(DEADLINE_SECONDS):
            return await parts.checks.get(name, partial(parts.admissions.checks.run, ask))
    except (TimeoutError, HoneError):
        return None
