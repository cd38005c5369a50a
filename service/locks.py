"""Locks between processes of one machine: a file that one holds alone or several share.

The system lets go of it when its holder dies, however it dies: nobody has to guess whether it lives.
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
        """Let others have it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Release it and remove its file; for who holds it alone."""
        self._path.unlink(missing_ok=True)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(path: Path, *, shared: bool = False) -> Lock:
    """The lock, waited for if another holder forbids it."""
    while True:
        lock = _try(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if lock is not None:
            return lock


def hold_now(path: Path) -> Lock | None:
    """The lock, alone, or None when somebody holds it."""
    while True:
        try:
            lock = _try(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if lock is not None:
            return lock


def _try(path: Path, kind: int) -> Lock | None:
    """None when the file was removed between opening and locking it: such a lock keeps nobody out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None  # its folder went
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
