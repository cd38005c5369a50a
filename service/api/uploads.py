"""Uploads on the local disk until they are checked and stored; each file is locked while it is received."""

import hashlib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.storage import locks

CHUNK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A received file."""

    path: Path
    size: int
    sha256: str


@contextmanager
def received(file: BinaryIO, data_dir: Path) -> Iterator[Upload]:
    """The upload as a file, deleted at the end of the block unless it was moved. OSError if the disk is full."""
    path = _folder(data_dir) / secrets.token_hex(8)
    lock = locks.hold(path)
    try:
        yield _copy(file, path)
    finally:
        lock.remove()


def _copy(file: BinaryIO, path: Path) -> Upload:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as copy:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += copy.write(chunk)
    return Upload(path, size, digest.hexdigest())


def sweep(data_dir: Path) -> None:
    """Delete uploads that killed API processes left behind: nothing holds their locks."""
    for path in _folder(data_dir).glob("*"):
        lock = locks.try_hold(path)
        if lock is not None:
            lock.remove()


def spool_into(data_dir: Path) -> None:
    """Let forms be received here: Python's own folder for temporary files may lie in memory, or be small."""
    _folder(data_dir).mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(_folder(data_dir))


def _folder(data_dir: Path) -> Path:
    return data_dir / "uploads"
