"""Where files and checkpoints live: a directory, or any fsspec URL. What is there is described by rows.

Keys are relative paths such as `checkpoints/ftjob-…/step-100-attempt-2`. A key is written once and whole:
in a directory by renaming, elsewhere by a row that is only written after the upload. Every failure is an OSError,
whatever the library behind the URL raises.
"""

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.callbacks import Callback

from service import durable
from service.copies import Copies, Copy
from service.domain.errors import LeaseLost

CHUNK = 1 << 20
PARTIAL = "partial"
CACHE_BYTES = 100 << 30
PATIENCE_SECONDS = 300.0
Watch = Callable[[], None]
"""Called between the pieces of what takes long; raises LeaseLost once nobody wants the rest."""


def unwatched() -> None:
    """Nothing ends it."""


class Storage:
    """A root of keys. `cache` is a local folder for what must be read from a remote root."""

    def __init__(
        self,
        url: str,
        cache: Path,
        *,
        cache_bytes: int = CACHE_BYTES,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._fs, root = fsspec.url_to_fs(url, use_listings_cache=False)  # others write there too
        self._root = str(root).rstrip("/")
        self._copies = Copies(cache, cache_bytes)
        self.patience_seconds = patience_seconds
        """How long a writer should wait for it to recover."""
        self.is_directory = "file" in _protocols(self._fs)
        if self.is_directory:
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def put(self, local: Path, key: str, watch: Watch = unwatched) -> None:
        """Move a local file or folder to `key`; when that fails, e.g. because the disk is full, it stays as it is."""
        if self.is_directory:
            partial = Path(self._root, PARTIAL, f"{key.replace('/', '-')}-{secrets.token_hex(4)}")
            durable.move(local, Path(self._root, key), partial)
            return
        self.delete(key)  # left by an upload whose row was never written; a folder would be put inside it
        with self._edge("store", key):
            self._fs.put(str(local), self._path(key), recursive=local.is_dir(), callback=_Pieces(watch))
        durable.delete(local)

    def local(self, key: str) -> Path:
        """The key as a local path, fetched first from a remote root; it stays for some minutes at least."""
        with self.pin(key) as copy:
            return copy.path

    def pin(self, key: str, *, anew: bool = False, watch: Watch = unwatched) -> Copy:
        """The key as a local path that stays until it is closed; `anew` fetches it again from a remote root."""
        if self.is_directory:
            return Copy(Path(self._root, key))

        def fetch(target: Path) -> None:
            with self._edge("fetch", key):
                folder = self._fs.isdir(self._path(key))
                self._fs.get(self._path(key), str(target), recursive=folder, callback=_Pieces(watch))

        return self._copies.take(key, fetch, anew=anew)

    def exists(self, key: str) -> bool:
        """Whether something is stored there."""
        with self._edge("look for", key):
            return bool(self._fs.exists(self._path(key)))

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is fine."""
        if self.is_directory:
            durable.delete(Path(self._root, key))
            if key.startswith("checkpoints/"):
                with suppress(OSError):  # the folder of its job, if that was the last
                    Path(self._root, key).parent.rmdir()
        elif self.exists(key):
            with self._edge("delete", key), suppress(FileNotFoundError):
                self._fs.rm(self._path(key), recursive=True)

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces."""
        with self._edge("read", key), self._fs.open(self._path(key), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def below(self, prefix: str) -> list[str]:
        """The keys directly below a prefix."""
        with self._edge("list", prefix):
            try:
                found = self._fs.ls(self._path(prefix), detail=False)
            except FileNotFoundError:
                return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(f"{prefix}/{name}" for name in names if name and name != prefix.rpartition("/")[2])

    def idle_seconds(self, key: str) -> float:
        """Since anything below the key was written; 0 when it is gone."""
        with self._edge("look at", key):
            try:
                files = self._fs.find(self._path(key)) or [self._path(key)]
                return time.time() - max(float(self._fs.modified(file).timestamp()) for file in files)
            except FileNotFoundError:
                return 0.0

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _edge(self, doing: str, key: str) -> Iterator[None]:
        """Drivers raise errors of their own libraries; whoever calls us knows OSError."""
        try:
            yield
        except (OSError, LeaseLost):
            raise
        except Exception as error:  # no list of them would be complete
            raise OSError(errno.EIO, f"the storage could not {doing} {key}: {type(error).__name__}: {error}") from error


class _Pieces(Callback):  # type: ignore[misc]
    """Drivers tell of every piece and file here."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def relative_update(self, inc: int = 1) -> None:
        """So many bytes, or files, more."""
        self._watch()

    def absolute_update(self, value: int) -> None:
        """So many in all."""
        self._watch()

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        """One of the files of a folder."""
        return self


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
