"""Local copies of what a remote storage holds: fetched once, kept while there is room, never removed while in use.

A copy is `HASH/NAME`, complete once it has that name. `HASH.pin` is held, shared, by each process that uses it, and its
time says when it was last wanted; `HASH.fetch` is held by the one that fetches it.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from service import durable, locks

RECENT_SECONDS = 600.0  # a download opens its file some time after it asked for it, without a pin


class Copy:
    """A local path that stays until it is closed."""

    def __init__(self, path: Path, pin: locks.Lock | None = None) -> None:
        self.path = path
        self._pin = pin

    def close(self) -> None:
        """It may go when room is needed."""
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
    """A folder of copies; beyond `limit` bytes those go that were wanted longest ago."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def take(self, key: str, fetch: Callable[[Path], None], *, anew: bool = False) -> Copy:
        """The copy of a key, pinned. `fetch` writes it to a path; `anew`: also when there is one."""
        place = self._folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        pin = locks.hold(_pin(place), shared=True)
        try:
            with locks.hold(place.with_suffix(".fetch")):
                path = place / key.rpartition("/")[2]
                if anew or not path.exists():
                    self._fetch(place, path.name, fetch)
            os.utime(_pin(place))
            self._make_room()
        except BaseException:
            pin.release()
            raise
        return Copy(path, pin)

    def _fetch(self, place: Path, name: str, fetch: Callable[[Path], None]) -> None:
        partial = place.with_suffix(".partial")
        durable.delete(partial)  # of a process that was killed: nobody else fetches while we hold the lock
        partial.mkdir(parents=True)
        try:
            fetch(partial / name)
            durable.sync(partial)
            durable.delete(place)
            partial.rename(place)
        except BaseException:
            durable.delete(partial)
            raise

    def _make_room(self) -> None:
        sizes = {pin.with_suffix(""): _size(pin.with_suffix("")) for pin in self._folder.glob("*.pin")}
        total = sum(sizes.values())
        for place in sorted(sizes, key=_last_wanted):
            if total <= self._limit or time.time() - _last_wanted(place) < RECENT_SECONDS:
                return
            if _remove(place):
                total -= sizes[place]


def _remove(place: Path) -> bool:
    """False when somebody uses it."""
    pin = locks.hold_now(_pin(place))
    if pin is None:
        return False
    for path in (place, place.with_suffix(".partial"), place.with_suffix(".fetch")):
        durable.delete(path)
    pin.remove()
    return True


def _pin(place: Path) -> Path:
    return place.with_suffix(".pin")


def _last_wanted(place: Path) -> float:
    try:
        return _pin(place).stat().st_mtime
    except FileNotFoundError:
        return time.time()  # it is being removed


def _size(place: Path) -> int:
    total = 0
    for path in (place, place.with_suffix(".partial")):
        for file in path.rglob("*"):
            try:
                total += file.stat().st_size if file.is_file() else 0
            except FileNotFoundError:
                continue
    return total
