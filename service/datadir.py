"""The data directory: what is in it, who uses it, and how a command on the same machine finds the service."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.domain.errors import Conflict


@dataclass(frozen=True)
class Running:
    """The service that uses a data directory, as it describes itself in `server.json`."""

    url: str
    pid: int


@dataclass(frozen=True)
class DataDir:
    """One folder with everything that a `hone up` must find again."""

    root: Path

    @property
    def admin_key(self) -> Path:
        """The secret of the first key; 0600."""
        return self.root / "admin.key"

    @property
    def storage(self) -> Path:
        """Files and checkpoints, unless STORAGE_URL says otherwise."""
        return self.root / "storage"

    @property
    def _running(self) -> Path:
        return self.root / "server.json"

    def running(self) -> Running | None:
        """The service that was started on this folder last and did not say that it stopped."""
        try:
            return Running(**json.loads(self._running.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def announce(self, url: str) -> None:
        """Let commands on this machine find us."""
        write_private(self._running, json.dumps({"url": url, "pid": os.getpid()}))

    def secret(self) -> str | None:
        """The first admin key, if it is there and ours to read."""
        try:
            return self.admin_key.read_text().strip()
        except OSError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other `hone up` away from this folder; Conflict if one is there. A dead one holds nothing."""
        descriptor = os.open(self.root / "hone.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._taken(descriptor) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            self._running.unlink(missing_ok=True)  # of one that was killed
            yield
            self._running.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _taken(self, descriptor: int) -> Conflict:
        pid = os.pread(descriptor, 20, 0).decode() or "unknown"
        running = self.running()
        where = f"serves {running.url}" if running else "is starting"
        return Conflict(
            f"data directory {self.root}: process {pid} uses it and {where}; stop it, or choose another --data-dir"
        )


def default() -> Path:
    """HONE_DATA_DIR; else the usual place, which for root is one that the servers' user can pass to."""
    if "HONE_DATA_DIR" in os.environ:
        return Path(os.environ["HONE_DATA_DIR"])
    if os.geteuid() == 0:
        return Path("/var/lib/hone")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hone"


def write_private(path: Path, text: str) -> None:
    """Write beside, with mode 0600, and rename: nobody reads half of it, nobody else reads it at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
