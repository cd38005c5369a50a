"""The dispatcher's broom: deletes what no row names any more, and finds what never got a row.

It works in a thread of its own: a storage that hangs must not keep lost jobs from being recovered.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain, islice

from service import logs
from service.domain.errors import HoneError
from service.failpoints import failpoint
from service.persistence import garbage
from service.persistence.database import Database
from service.storage import PARTIAL, Storage

log = logs.get(__name__)
BATCH = 20
PAUSE_SECONDS = 30.0


class Broom:
    """Deletes in small transactions; what fails is tried again, after what waits behind it."""

    def __init__(self, database: Database, storage: Callable[[], Storage], sweep_seconds: float = 3600.0) -> None:
        """`sweep_seconds`: between two sweeps, and for how long nobody writes into what will still get a row."""
        self._sweep_seconds = sweep_seconds
        self._database = database
        self._opened = storage
        self._thread: threading.Thread | None = None
        self._seen = 0
        self._next = 0.0
        self._sweep_at = 0.0

    @cached_property
    def _storage(self) -> Storage:
        """Opened by the thread: the dispatcher must start when the storage is away."""
        return self._opened()

    def collect_garbage(self) -> None:
        """A duty of the dispatcher: returns at once."""
        if time.monotonic() >= self._next and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._round, name="garbage", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Wait for what is being deleted, but not for a storage that hangs."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _round(self) -> None:
        try:
            if time.monotonic() >= self._sweep_at:
                self.sweep()
                self._sweep_at = time.monotonic() + self._sweep_seconds
            self.collect()
        except (OSError, HoneError) as error:
            log.warning("files that nobody needs stay for now", error=str(error))
            self._next = time.monotonic() + PAUSE_SECONDS

    def collect(self) -> None:
        """Delete some keys, beginning behind the last one that was looked at."""
        for _ in range(BATCH):
            if not self._collect_one():
                self._seen = 0
                return

    def _collect_one(self) -> bool:
        with self._database.transaction() as session:
            row = garbage.next_after(session, self._seen)
            if row is None:
                return False
            self._seen = row.id
            if not garbage.wanted(session, row.storage_key):
                self._storage.delete(row.storage_key)
                failpoint("checkpoint.forgotten")
            garbage.forget(session, row)
        return True

    def sweep(self) -> None:
        """Hand over what has no row and will get none: a process died between its upload and its row."""
        jobs = self._storage.below("checkpoints")
        keys = chain(self._storage.below(PARTIAL), chain.from_iterable(map(self._storage.below, jobs)))
        for some in _batches(keys):
            with self._database.transaction() as session:
                found = garbage.orphans(session, some)
            old = [key for key in found if self._storage.idle_seconds(key) > self._sweep_seconds]
            with self._database.transaction() as session:
                for key in old:
                    log.warning("an orphan in the storage goes", key=key)
                    garbage.add(session, key)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while some := list(islice(remaining, BATCH)):
        yield some
