"""Where files and checkpoints live: a directory, or any fsspec URL. What is there is described by rows.

Keys are relative paths such as `checkpoints/ftjob-…/step-100-attempt-2`. A key is written once and whole:
in a directory by renaming, elsewhere by a row that is only written after the upload.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

CHUNK = 1 << 20


class Storage:
    """A root of keys. `cache` is a local folder for what must be read from a remote root."""

    def __init__(self, url: str, cache: Path) -> None:
        self._fs, root = fsspec.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._cache = cache
        self._is_directory = "file" in _protocols(self._fs)
        if self._is_directory:
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def put(self, local: Path, key: str) -> None:
        """Move a local file or folder to `key`. Raises OSError, e.g. when the disk is full."""
        if self._is_directory:
            _move(local, Path(self._root, key))
            return
        self.delete(key)  # left by an upload whose row was never written; a folder would be put inside it
        self._fs.put(str(local), f"{self._root}/{key}", recursive=local.is_dir())
        _delete(local)

    def local(self, key: str) -> Path:
        """The key as a local path, fetched first from a remote root."""
        if self._is_directory:
            return Path(self._root, key)
        target = self._cache / key
        if not target.exists():
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            partial.parent.mkdir(parents=True, exist_ok=True)
            self._fs.get(f"{self._root}/{key}", str(partial), recursive=True)
            partial.rename(target)
        return target

    def exists(self, key: str) -> bool:
        """Whether something is stored there."""
        return bool(self._fs.exists(f"{self._root}/{key}"))

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is fine."""
        if self.exists(key):
            self._fs.rm(f"{self._root}/{key}", recursive=True)

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces."""
        with self._fs.open(f"{self._root}/{key}", "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _move(local: Path, target: Path) -> None:
    """Rename within one filesystem; across two, copy beside and rename, so that no reader sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    _delete(target)  # left by a move whose row was never written
    try:
        shutil.move(local, partial)
        partial.rename(target)
    except OSError:
        _delete(partial)
        raise
    _sync(target.parent)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
