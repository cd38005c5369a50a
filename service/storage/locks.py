"""Locks between processes of one machine: a file that one holds alone or several share.

The system releases it when its holder dies, in whatever way.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Lock:
    """A held lock; leaving its block releases it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Release it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Release it and remove its file; only for an exclusive lock."""
        self._path.unlink(missing_ok=True)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(path: Path, *, shared: bool = False) -> Lock:
    """The lock; waits while another process holds it, unless both share it."""
    while True:
        lock = _try(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if lock is not None:
            return lock


def try_hold(path: Path) -> Lock | None:
    """The exclusive lock, or None if another process holds it."""
    while True:
        try:
            lock = _try(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if lock is not None:
            return lock


def _try(path: Path, kind: int) -> Lock | None:
    """None if the file was removed between opening and locking it: another process would lock a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None  # its folder was removed
    try:
        fcntl.flock(descriptor, kind)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return Lock(path, descriptor)
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
