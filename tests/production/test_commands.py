"""Each service's own command and health check, as docker-compose.yml has them, against real servers over TCP.

Images, hosts, mount points and ports become this environment's programs, loopback, folders and free ports.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from service.local.embedded import Servers, servers

START_SECONDS = 180.0
JOB = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "model": "tiny",
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
    "steps": 2,
}
CREATE_KEY = ["hone", "create-key", "--owner", "admin", "--role", "admin"]  # as the head of the compose file says


@dataclass
class Stack:
    """The services of the compose file as processes."""

    services: dict[str, dict[str, Any]]
    servers: Servers
    folder: Path
    root: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        """Run a service's command."""
        self.running[name] = self._spawn(name, self.services[name]["command"])

    def run(self, name: str, command: list[str] | None = None) -> str:
        """What a service's command, or another in its container, prints until it ends well."""
        process = self._spawn(name, command or self.services[name]["command"], stdout=subprocess.PIPE)
        output, _ = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0, self.log(name)
        return output.decode().strip()

    def healthy(self, name: str) -> bool:
        """Whether a service's health check, run beside it, finds it well."""
        check = self.services[name]["healthcheck"]
        kind, *command = check["test"]
        process = self._spawn(name, ["sh", "-c", *command] if kind == "CMD-SHELL" else command)
        return process.wait(timeout=START_SECONDS) == 0

    def wait_until_healthy(self, name: str) -> None:
        """Return once the health check passes."""
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy(name):
            assert self.running[name].poll() is None and time.monotonic() < deadline, self.log(name)
            time.sleep(0.2)

    def stop(self, name: str) -> int:
        """Its exit status after SIGTERM; TimeoutExpired where Docker would have killed it."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        grace = self.services[name]["stop_grace_period"].removesuffix("s")
        try:
            return process.wait(float(grace))
        finally:
            _kill_group(process)

    def log(self, name: str) -> str:
        """The end of what it printed."""
        return f"{name}:\n" + "\n".join((self.folder / f"{name}.log").read_text().splitlines()[-30:])

    def _spawn(self, name: str, command: list[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [self._here(name, part) for part in command],
                cwd=self.root,
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, name: str) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {variable: self._here(name, text) for variable, text in self.services[name]["environment"].items()}
        return {"PATH": programs, "HOME": str(self.private(name)), "OMP_NUM_THREADS": "1"} | given

    def _here(self, name: str, text: str) -> str:
        """A path, host or port of a container, on this machine."""
        database, broker = (urlsplit(url).port for url in (self.servers.database_url, self.servers.redis_url))
        here = {
            "@postgres:5432/": f"@127.0.0.1:{database}/",
            "@redis:6379/": f"@127.0.0.1:{broker}/",
            "/storage": str(self.folder / "storage"),
            "/models": str(self.folder / "models"),
            "/scratch": str(self.private(name)),
            "0.0.0.0": "127.0.0.1",
        }
        for there, replacement in here.items():
            text = text.replace(there, replacement)
        return str(self.port) if text == "8000" else text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def private(self, name: str) -> Path:
        """The scratch space of a service's container."""
        scratch = self.folder / f"scratch-{name}"
        scratch.mkdir(exist_ok=True)
        return scratch


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def stack(compose: Any, root: Path) -> Iterator[Stack]:
    """Both servers run, nothing else does."""
    with tempfile.TemporaryDirectory(prefix="hone-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)  # PostgreSQL's own user passes through
        with servers(Path(name, "servers"), tcp=True) as running:
            urls = {"POSTGRES_PASSWORD": running.database_url, "REDIS_PASSWORD": running.redis_url}
            passwords = {variable: urlsplit(url).password for variable, url in urls.items()}
            made = Stack(compose.services(**passwords), running, Path(name), root, _free_port())
            yield made
            for process in made.running.values():
                _kill_group(process)
                process.wait()


def _patiently(look: Callable[[], dict[str, Any]], over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while not over(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def test_the_services_of_the_compose_file_take_a_job_from_http_to_its_end_and_stop_in_time(stack: Stack) -> None:
    stack.run("migrate")
    for name in ("api", "dispatcher", "worker"):
        assert not stack.healthy(name)
        stack.start(name)
    key = stack.run("api", CREATE_KEY)
    for name in ("api", "dispatcher", "worker"):
        stack.wait_until_healthy(name)

    with httpx2.Client(base_url=stack.url, headers={"authorization": f"Bearer {key}"}, timeout=30) as http:
        job = http.post("/v1/jobs", json=JOB).raise_for_status().json()
        ended = _patiently(
            lambda: dict(http.get(f"/v1/jobs/{job['id']}").json()),
            lambda seen: seen["status"] in ("succeeded", "failed", "cancelled"),
        )
        assert ended["status"] == "succeeded", (ended, stack.log("worker"))
        assert http.get("/readyz").json()["status"] == "ready"
        assert all(stack.healthy(name) for name in stack.running)

        assert stack.stop("worker") == 0
        assert stack.stop("dispatcher") == 0
        assert http.get("/readyz").json()["workers"] == 0
        waiting = http.post("/v1/jobs", json=JOB).raise_for_status().json()
        with http.stream("GET", f"/v1/jobs/{waiting['id']}/stream") as stream:
            lines = stream.iter_lines()
            next(lines)  # somebody watches, and goes on watching: that must not hold the API
            assert stack.stop("api") in (0, -signal.SIGTERM)
    assert not stack.healthy("api")


@pytest.mark.parametrize("name", ["dispatcher", "worker"])
def test_a_service_that_has_done_nothing_for_long_is_not_healthy(stack: Stack, name: str) -> None:
    beat = stack.private(name) / f"{name}.beat"
    beat.touch()
    assert stack.healthy(name)
    os.utime(beat, (time.time() - 120,) * 2)
    assert not stack.healthy(name)
