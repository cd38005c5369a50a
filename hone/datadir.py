"""The data directory: what is in it, who uses it, and how a command on the same machine finds the service."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hone.errors import Conflict


@dataclass(frozen=True)
class ServerInfo:
    """The service that uses a data directory, as it describes itself in `server.json`."""

    url: str
    pid: int


@dataclass(frozen=True)
class DataDir:
    """The folder with everything that a `hone up` needs when it starts again."""

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
    def _server_json(self) -> Path:
        return self.root / "server.json"

    def server(self) -> ServerInfo | None:
        """The service that was last started on this folder, unless it has stopped in order."""
        try:
            return ServerInfo(**json.loads(self._server_json.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def announce(self, url: str) -> None:
        """Let commands on this machine find the service of this process."""
        write_private(self._server_json, json.dumps({"url": url, "pid": os.getpid()}))

    def secret(self) -> str | None:
        """The secret of the first admin key, if this user may read it."""
        try:
            return self.admin_key.read_text().strip()
        except OSError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock this folder against every other `hone up`; Conflict if one runs. A killed process holds no lock."""
        descriptor = os.open(self.root / "hone.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._taken(descriptor) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            self._server_json.unlink(missing_ok=True)  # left by a killed process
            yield
            self._server_json.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _taken(self, descriptor: int) -> Conflict:
        pid = os.pread(descriptor, 20, 0).decode() or "unknown"
        server = self.server()
        activity = f"serves {server.url}" if server else "is starting"
        return Conflict(
            f"data directory {self.root}: process {pid} uses it and {activity}; stop it, or choose another --data-dir"
        )


def default() -> Path:
    """HONE_DATA_DIR; else /var/lib/hone for root, because the database's user can reach it, or a folder in the home."""
    if "HONE_DATA_DIR" in os.environ:
        return Path(os.environ["HONE_DATA_DIR"])
    if os.geteuid() == 0:
        return Path("/var/lib/hone")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hone"


def write_private(path: Path, text: str) -> None:
    """Write a temporary file with mode 0600 and rename it: readers see a complete file, and no other user reads it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
