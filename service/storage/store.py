"""The storage of files and checkpoints: a directory, or any fsspec URL. Its contents are described by rows.

Keys are relative paths such as `checkpoints/ftjob-…/step-100-attempt-2`. A key is written once, and no reader sees an
incomplete one: in a directory it is renamed into place, elsewhere its row is written after the upload. Every failure is
an OSError, whatever the library behind the URL raises.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.callbacks import Callback

from hone.errors import LeaseLost
from service.storage import durable
from service.storage.copies import Copies, Copy

CHUNK = 1 << 20
PARTIAL = "partial"
CACHE_BYTES = 100 << 30
RETRY_SECONDS = 300.0
Check = Callable[[], None]
"""Called between the pieces of a long transfer; raises LeaseLost in order to cancel it."""


def never_cancelled() -> None:
    """The Check of a transfer that runs to its end."""


class Storage:
    """Files and folders by key. `cache` is a local folder for copies of remote ones."""

    def __init__(
        self,
        url: str,
        cache: Path,
        *,
        cache_bytes: int = CACHE_BYTES,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._fs, root = fsspec.url_to_fs(url, use_listings_cache=False)  # others write there too
        self._root = str(root).rstrip("/")
        self._copies = Copies(cache, cache_bytes)
        self.retry_seconds = retry_seconds
        """How long a writer retries while the storage fails."""
        self.is_directory = "file" in _protocols(self._fs)
        if self.is_directory:
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def put(self, local: Path, key: str, check: Check = never_cancelled) -> None:
        """Move a local file or folder to `key`; if that fails, e.g. on a full disk, the local one is unchanged."""
        if self.is_directory:
            partial = Path(self._root, PARTIAL, f"{key.replace('/', '-')}-{secrets.token_hex(4)}")
            durable.move(local, Path(self._root, key), partial)
            return
        self.delete(key)  # left by an upload whose row was never written; a folder would be put inside it
        with self._os_errors("store", key):
            self._fs.put(str(local), self._path(key), recursive=local.is_dir(), callback=_CheckCallback(check))
        durable.delete(local)

    def local(self, key: str) -> Path:
        """The key as a local path, fetched first from a remote root; not evicted for some minutes."""
        with self.pin(key) as copy:
            return copy.path

    def pin(self, key: str, *, refetch: bool = False, check: Check = never_cancelled) -> Copy:
        """The key as a local path that is not evicted until it is closed; `refetch` downloads it again."""
        if self.is_directory:
            return Copy(Path(self._root, key))

        def fetch(target: Path) -> None:
            with self._os_errors("fetch", key):
                folder = self._fs.isdir(self._path(key))
                self._fs.get(self._path(key), str(target), recursive=folder, callback=_CheckCallback(check))

        return self._copies.pin(key, fetch, refetch=refetch)

    def exists(self, key: str) -> bool:
        """Whether something is stored there."""
        with self._os_errors("look for", key):
            return bool(self._fs.exists(self._path(key)))

    def answers(self) -> bool:
        """Whether it can be asked, and, as far as this can be seen without writing, written to."""
        try:
            if self.is_directory:
                return os.access(self._root, os.W_OK)
            self._fs.exists(self._path(PARTIAL))
        except Exception:  # noqa: BLE001 - as in `_os_errors`
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete a key; it need not exist."""
        if self.is_directory:
            durable.delete(Path(self._root, key))
            if key.startswith("checkpoints/"):
                with suppress(OSError):  # the folder of its job, if that was the last
                    Path(self._root, key).parent.rmdir()
        elif self.exists(key):
            with self._os_errors("delete", key), suppress(FileNotFoundError):
                self._fs.rm(self._path(key), recursive=True)

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of a file from `start`, in pieces."""
        with self._os_errors("read", key), self._fs.open(self._path(key), "rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk

    def below(self, prefix: str) -> list[str]:
        """The keys directly below a prefix."""
        with self._os_errors("list", prefix):
            try:
                paths = self._fs.ls(self._path(prefix), detail=False)
            except FileNotFoundError:
                return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in paths)
        return sorted(f"{prefix}/{name}" for name in names if name and name != prefix.rpartition("/")[2])

    def seconds_since_write(self, key: str) -> float:
        """Since anything below the key was written; 0 if it does not exist."""
        with self._os_errors("look at", key):
            try:
                files = self._fs.find(self._path(key)) or [self._path(key)]
                return time.time() - max(float(self._fs.modified(file).timestamp()) for file in files)
            except FileNotFoundError:
                return 0.0

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _os_errors(self, action: str, key: str) -> Iterator[None]:
        """Turn the errors of drivers' libraries into OSError, which callers expect."""
        try:
            yield
        except (OSError, LeaseLost):
            raise
        except Exception as error:  # no list of them would be complete
            reason = f"{type(error).__name__}: {error}"
            raise OSError(errno.EIO, f"the storage could not {action} {key}: {reason}") from error


class _CheckCallback(Callback):  # type: ignore[misc]
    """fsspec calls these methods after each piece and file; each calls `check`."""

    def __init__(self, check: Check) -> None:
        super().__init__()
        self._check = check

    def relative_update(self, inc: int = 1) -> None:
        """`inc` bytes or files more."""
        self._check()

    def absolute_update(self, value: int) -> None:
        """`value` bytes or files in all."""
        self._check()

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        """The callback for one file of a folder."""
        return self


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
