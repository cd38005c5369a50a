"""Local copies of keys of a remote storage: fetched once, evicted least recently used first, never while in use.

A copy is `HASH/NAME`, complete once it has that name. `HASH.pin` is a lock that each process shares while it uses the
copy; its modification time is that of the last use. `HASH.fetch` is locked by the process that fetches the copy.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from service.storage import durable, locks

RECENT_SECONDS = 600.0  # copies used since then stay: a download opens its file some time after it asked, unpinned


class Copy:
    """A local path that is not evicted until it is closed."""

    def __init__(self, path: Path, pin: locks.Lock | None = None) -> None:
        self.path = path
        self._pin = pin

    def close(self) -> None:
        """Allow its eviction."""
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Copies:
    """A folder of copies; above `limit` bytes, the least recently used ones are evicted."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def pin(self, key: str, fetch: Callable[[Path], None], *, refetch: bool = False) -> Copy:
        """The copy of a key, pinned. `fetch` writes it to a path; with `refetch` also if there is a copy already."""
        place = self._folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        pin = locks.hold(_pin(place), shared=True)
        try:
            with locks.hold(place.with_suffix(".fetch")):
                path = place / key.rpartition("/")[2]
                if refetch or not path.exists():
                    self._fetch(place, path.name, fetch)
            os.utime(_pin(place))
            self._evict()
        except BaseException:
            pin.release()
            raise
        return Copy(path, pin)

    def _fetch(self, place: Path, name: str, fetch: Callable[[Path], None]) -> None:
        partial = place.with_suffix(".partial")
        durable.delete(partial)  # left by a process that was killed: we hold the lock
        partial.mkdir(parents=True)
        try:
            fetch(partial / name)
            durable.sync(partial)
            durable.delete(place)
            partial.rename(place)
        except BaseException:
            durable.delete(partial)
            raise

    def _evict(self) -> None:
        sizes = {pin.with_suffix(""): _size(pin.with_suffix("")) for pin in self._folder.glob("*.pin")}
        total = sum(sizes.values())
        for place in sorted(sizes, key=_last_used):
            if total <= self._limit or time.time() - _last_used(place) < RECENT_SECONDS:
                return
            if _remove(place):
                total -= sizes[place]


def _remove(place: Path) -> bool:
    """False if it is in use."""
    pin = locks.try_hold(_pin(place))
    if pin is None:
        return False
    for path in (place, place.with_suffix(".partial"), place.with_suffix(".fetch")):
        durable.delete(path)
    pin.remove()
    return True


def _pin(place: Path) -> Path:
    return place.with_suffix(".pin")


def _last_used(place: Path) -> float:
    try:
        return _pin(place).stat().st_mtime
    except FileNotFoundError:
        return time.time()  # another process removes it


def _size(place: Path) -> int:
    total = 0
    for path in (place, place.with_suffix(".partial")):
        for file in path.rglob("*"):
            try:
                total += file.stat().st_size if file.is_file() else 0
            except FileNotFoundError:
                continue
    return total
