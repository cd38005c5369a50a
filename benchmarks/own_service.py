"""A service of one's own for a benchmark: `hone up` in a temporary folder, gone afterwards."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rig import procs


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary one, which PostgreSQL's own user may pass where we are root."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-", dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@dataclass(frozen=True)
class Service:
    """A running service, also seen from behind."""

    http: httpx2.Client
    """With the admin key."""
    data_dir: Path

    @property
    def url(self) -> str:
        """Of its API."""
        return str(self.http.base_url)

    @property
    def key(self) -> str:
        """The admin key."""
        return (self.data_dir / "admin.key").read_text().strip()

    @property
    def api_pids(self) -> list[int]:
        """The processes of its API."""
        return procs.of_service(self.data_dir, "service.app:create_app")

    @property
    def database_url(self) -> str:
        """As the API has it."""
        environment = Path(f"/proc/{self.api_pids[0]}/environ").read_text().split("\0")
        return next(line.partition("=")[2] for line in environment if line.startswith("DATABASE_URL="))


@contextmanager
def service(*options: str) -> Iterator[Service]:
    """A fresh service with an idle worker."""
    with folder() as data_dir:
        command = [sys.executable, "-m", "hone.cli", "up", "--data-dir", str(data_dir), "--port", "0", *options]
        with (data_dir / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Service(_client(data_dir, process), data_dir)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def running(*options: str) -> Iterator[httpx2.Client]:
    """Its client alone."""
    with service(*options) as started:
        yield started.http


def _client(data_dir: Path, process: "subprocess.Popen[bytes]") -> httpx2.Client:
    while not (data_dir / "server.json").exists():
        if process.poll() is not None:
            raise SystemExit((data_dir / "up.log").read_text())
        time.sleep(0.05)
    url = json.loads((data_dir / "server.json").read_text())["url"]
    key = (data_dir / "admin.key").read_text().strip()
    return httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)
