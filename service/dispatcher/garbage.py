"""Deletes files that no row names any more, and finds those that never got a row.

In a thread of its own, because a storage that hangs must not keep lost jobs from returning to the queue.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain, islice

from hone.errors import HoneError
from service import logs
from service.failpoints import failpoint
from service.persistence import garbage
from service.persistence.database import Database
from service.storage.store import PARTIAL, Storage

log = logs.get(__name__)
BATCH = 20
RETRY_SECONDS = 30.0


class GarbageCollector:
    """Deletes in small transactions; a key that fails is tried again after all others."""

    def __init__(self, database: Database, storage: Callable[[], Storage], sweep_seconds: float = 3600.0) -> None:
        """`sweep_seconds`: the time between sweeps; a younger file without a row may still get one."""
        self._sweep_seconds = sweep_seconds
        self._database = database
        self._open_storage = storage
        self._thread: threading.Thread | None = None
        self._last_id = 0
        self._retry_at = 0.0
        self._sweep_at = 0.0

    @cached_property
    def _storage(self) -> Storage:
        """Opened by the thread: the dispatcher must start although the storage does not answer."""
        return self._open_storage()

    def collect_garbage(self) -> None:
        """A duty of the dispatcher: starts a round in the thread, and returns at once."""
        if time.monotonic() >= self._retry_at and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._round, name="garbage", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Wait for the round to end, but not for a storage that hangs."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _round(self) -> None:
        try:
            if time.monotonic() >= self._sweep_at:
                self.sweep()
                self._sweep_at = time.monotonic() + self._sweep_seconds
            self.collect()
        except (OSError, HoneError) as error:
            log.warning("garbage could not be collected; will try again", error=str(error))
            self._retry_at = time.monotonic() + RETRY_SECONDS

    def collect(self) -> None:
        """Delete some keys, starting after the last one that was tried."""
        for _ in range(BATCH):
            if not self._collect_one():
                self._last_id = 0
                return

    def _collect_one(self) -> bool:
        with self._database.transaction() as session:
            row = garbage.next_after(session, self._last_id)
            if row is None:
                return False
            self._last_id = row.id
            if not garbage.is_needed(session, row.storage_key):
                self._storage.delete(row.storage_key)
                failpoint("checkpoint.forgotten")
            garbage.remove(session, row)
        return True

    def sweep(self) -> None:
        """Make garbage of files that have no row and will get none, because a process died between upload and row."""
        jobs = self._storage.below("checkpoints")
        keys = chain(self._storage.below(PARTIAL), chain.from_iterable(map(self._storage.below, jobs)))
        for batch in _batches(keys):
            with self._database.transaction() as session:
                unreferenced = garbage.unreferenced(session, batch)
            old = [key for key in unreferenced if self._storage.seconds_since_write(key) > self._sweep_seconds]
            with self._database.transaction() as session:
                for key in old:
                    log.warning("deleting an unreferenced key of the storage", key=key)
                    garbage.add(session, key)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while batch := list(islice(remaining, BATCH)):
        yield batch
