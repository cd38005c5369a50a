"""The long answers of this process: streams of events, and downloads.

Streams of the same job at the same place share one read. One sweep every two seconds asks for all of them whether their
jobs have news, in case a wake-up was lost, and whether the keys that opened them are still what they were.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hone.errors import HoneError, Unavailable
from service.api.admission import SharedCalls
from service.persistence import jobs, keys
from service.persistence.database import Database

SWEEP_SECONDS = 2.0
MOST = 8000
OTHER_FILES = 256  # that a process may have open beside the connections of its streams


@dataclass(eq=False)
class LongAnswer:
    """An answer that is being sent. It ends once `allowed` is false."""

    key_id: str
    owner: str
    role: str
    job_id: str | None = None
    seq: int = 0
    """The last event that was sent."""
    allowed: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its job has news, and when it is no longer allowed."""

    def forbid(self) -> None:
        """Its key was revoked, has expired or has another role."""
        self.allowed = False
        self.news.set()


class Streams:
    """For the event loop only, but for `close_those_of`."""

    def __init__(self) -> None:
        self._open: set[LongAnswer] = set()
        self.reads = SharedCalls()
        self._most = min(MOST, _open_files() - OTHER_FILES)

    @contextmanager
    def open(self, key_id: str, owner: str, role: str, job_id: str | None = None) -> Iterator[LongAnswer]:
        """A new one, for the time of the block. Unavailable if there are too many."""
        if len(self._open) >= self._most:
            raise Unavailable(f"the server has {self._most} open streams, its most; try again", code="overloaded")
        answer = LongAnswer(key_id, owner, role, job_id)
        self._open.add(answer)
        try:
            yield answer
        finally:
            self._open.discard(answer)

    def close_those_of(self, key_id: str) -> None:
        """Its key was revoked."""
        for answer in tuple(self._open):
            if answer.key_id == key_id:
                answer.forbid()

    async def run(self, database: Database, admit: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Sweep until cancelled. While the database is away nobody's rights can be looked at, and nobody has news."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            answers = tuple(self._open)
            if answers:
                try:
                    versions, owners = await admit(partial(_state, database, answers))
                except HoneError:
                    continue
                for answer in answers:
                    _update(answer, versions, owners)


def _state(database: Database, answers: tuple[LongAnswer, ...]) -> tuple[dict[str, int], dict[str, tuple[str, str]]]:
    """Versions of jobs, and owners and roles of valid keys; what is not there is missing."""
    with database.transaction() as session:
        return (
            jobs.versions(session, {answer.job_id for answer in answers if answer.job_id is not None}),
            keys.valid(session, {answer.key_id for answer in answers}),
        )


def _update(answer: LongAnswer, versions: dict[str, int], owners: dict[str, tuple[str, str]]) -> None:
    if owners.get(answer.key_id) != (answer.owner, answer.role):
        answer.forbid()
    elif answer.job_id is not None and versions.get(answer.job_id) != answer.seq:
        answer.news.set()


def _open_files() -> int:
    """How many files this process may have open; it asks for as many as it can get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST + OTHER_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
