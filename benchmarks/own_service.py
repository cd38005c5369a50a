"""A service of one's own for a benchmark: `hone up` in a temporary folder, gone afterwards."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary one, which PostgreSQL's own user may pass where we are root."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-", dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextmanager
def running(*options: str) -> Iterator[httpx2.Client]:
    """A client with the admin key of a fresh service with an idle worker."""
    with folder() as data_dir:
        command = [sys.executable, "-m", "hone.cli", "up", "--data-dir", str(data_dir), "--port", "0", *options]
        with (data_dir / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _client(data_dir, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _client(data_dir: Path, process: "subprocess.Popen[bytes]") -> httpx2.Client:
    while not (data_dir / "server.json").exists():
        if process.poll() is not None:
            raise SystemExit((data_dir / "up.log").read_text())
        time.sleep(0.05)
    url = json.loads((data_dir / "server.json").read_text())["url"]
    key = (data_dir / "admin.key").read_text().strip()
    return httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)
