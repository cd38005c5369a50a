"""Admission: a request's whole use of the database happens in one thread, and only so many threads do it at a time.

So nothing holds a connection while it waits for a thread, and no burst can make the two wait for each other. Who comes
when all threads are busy waits in the event loop, which costs some kilobytes; who would wait behind too many others, or
has waited for too long, is refused with a 503 and Retry-After.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from hone.errors import Unavailable

T = TypeVar("T")
REQUEST_THREADS = 8  # more would only take turns with Python's lock; with those below, fewer than there are connections
TRANSFER_THREADS = 16  # they wait for disks and object stores
STREAM_THREADS = 4
KEY_THREADS = 2
CHECK_THREADS = 3
WAITING = 2000
PATIENCE_SECONDS = 15.0  # clients wait longer than that; a database that is restarted is back by then


class Admission:
    """Runs work in at most `threads` threads; at most `waiting` calls wait for one, for at most `patience` seconds."""

    def __init__(self, threads: int, waiting: int = WAITING, patience: float = PATIENCE_SECONDS) -> None:
        self._slots = CapacityLimiter(threads)
        self._threads = CapacityLimiter(threads)
        self._waiting, self._patience = waiting, patience

    async def run(self, work: Callable[[], T], gone: Callable[[], Awaitable[bool]] | None = None) -> T:
        """The result of `work`, which is carried through also if the client or the server goes away meanwhile.
        Unavailable if it could not begin, or if whoever asked was `gone` before that: they may ask again.
        """
        await self._enter(slot := object())
        try:
            if gone is not None and await gone():
                raise Unavailable("the client went away before its request began", code="client_gone")
            return await run_sync(work, limiter=self._threads)
        finally:
            self._slots.release_on_behalf_of(slot)

    async def _enter(self, slot: object) -> None:
        if self._slots.statistics().tasks_waiting >= self._waiting:
            raise Unavailable("the server is busy: too many requests wait already; try again", code="overloaded")
        try:
            with anyio.fail_after(self._patience):
                await self._slots.acquire_on_behalf_of(slot)
        except TimeoutError:
            message = f"the server is busy: the request waited for {self._patience:g} s; try again"
            raise Unavailable(message, code="overloaded") from None


class SharedCalls:
    """Who asks for the same thing at the same time shares one answer, or one error. For the event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, what: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `ask` answers, or a call of it for the same thing that has not ended yet."""
        task = self._tasks.get(what)
        if task is None:
            task = self._tasks[what] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._forget(what, done))
        answer: T = await asyncio.shield(task)  # one of those who wait may go away
        return answer

    def _forget(self, what: Hashable, done: "asyncio.Task[Any]") -> None:
        del self._tasks[what]
        if not done.cancelled():
            done.exception()  # known to those who waited; there may be nobody left


class Admissions:
    """One for each kind of work, so that none takes the threads of another."""

    def __init__(self) -> None:
        self.requests = Admission(REQUEST_THREADS)
        """Short transactions."""
        self.keys = Admission(KEY_THREADS)
        """Who sends a request."""
        self.streams = Admission(STREAM_THREADS)
        """The events of open streams."""
        self.transfers = Admission(TRANSFER_THREADS, waiting=200, patience=30)
        """Uploads and downloads, which may take minutes."""
        self.checks = Admission(CHECK_THREADS)
        """Whether other servers answer."""
