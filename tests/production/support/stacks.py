"""The services of docker-compose.yml as processes: their own commands and health checks, against real servers over TCP.

Images, hosts, mount points and ports become environments with the wheel and their packages (the control plane's has no
torch), loopback, folders and free ports.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx2
from composefiles import Compose
from installs import Installed

from service.local.embedded import Servers, servers

START_SECONDS = 180.0
NO_WAY_OUT = "http://127.0.0.1:1"  # what the services say to each other and to themselves goes through no proxy
CREATE_KEY = ["hone", "create-key", "--owner", "admin", "--role", "admin"]
JOB = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "model": "tiny",
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
    "steps": 2,
}


@dataclass
class Stack:
    """The services of the compose file as processes."""

    services: dict[str, dict[str, Any]]
    servers: Servers
    folder: Path
    images: dict[str, Installed]
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        """Run a service's command."""
        self.running[name] = self._spawn(name, self.services[name]["command"])

    def run(self, name: str, command: list[str] | None = None, given: bytes = b"") -> bytes:
        """What a service's command, or another in its container, prints until it ends well."""
        pipe = subprocess.PIPE
        process = self._spawn(name, command or self.services[name]["command"], stdin=pipe, stdout=pipe)
        output, _ = process.communicate(given, timeout=START_SECONDS)
        assert process.returncode == 0, self.log(name)
        return output

    def healthy(self, name: str) -> bool:
        """Whether a service's health check, run beside it, finds it well."""
        check = self.services[name]["healthcheck"]
        kind, *command = check["test"]
        process = self._spawn(name, ["sh", "-c", *command] if kind == "CMD-SHELL" else command)
        return process.wait(timeout=START_SECONDS) == 0

    def up(self) -> None:
        """`docker compose up --detach --wait`, after the servers; without a worker for devices."""
        self.run("migrate")
        for name in (name for name in ("api", "dispatcher", "worker") if name not in self.running):
            self.start(name)
        for name in self.running:
            self.wait_until_healthy(name)

    def create_key(self) -> str:
        """The first key, made as the head of the compose file says."""
        return self.run("api", CREATE_KEY).decode().strip()

    def client(self, key: str) -> httpx2.Client:
        """For the API."""
        return httpx2.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30)

    def ended(self, http: httpx2.Client, job_id: str) -> dict[str, Any]:
        """A job that has succeeded."""
        deadline = time.monotonic() + START_SECONDS
        while (job := dict(http.get(f"/v1/jobs/{job_id}").json()))["status"] not in ("succeeded", "failed"):
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
        assert job["status"] == "succeeded", (job, self.log("worker"))
        return job

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
            kill_group(process)
            shutil.rmtree(self.private(name))  # with its container

    def log(self, name: str) -> str:
        """The end of what it printed."""
        return f"{name}:\n" + "\n".join((self.folder / f"{name}.log").read_text().splitlines()[-30:])

    def _spawn(
        self, name: str, command: list[str], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [self._here(name, part) for part in command],
                cwd=self.image(name).empty,
                env=self._environment(name),
                stdin=stdin,
                stdout=stdout or log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, name: str) -> dict[str, str]:
        programs = f"{self.image(name).bin}:{os.environ['PATH']}"
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

    def image(self, name: str) -> Installed:
        """The environment that stands for a service's image."""
        return self.images[self.services[name]["build"]["target"]]

    def private(self, name: str) -> Path:
        """The scratch space of a service's container."""
        scratch = self.folder / f"scratch-{name}"
        scratch.mkdir(exist_ok=True)
        return scratch


def kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def started(compose: Compose, images: dict[str, Installed]) -> Iterator[Stack]:
    """A host on which both servers run, and nothing else."""
    with TemporaryDirectory(prefix="hone-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)  # PostgreSQL's own user passes through
        for volume in ("storage", "models"):
            Path(name, volume).mkdir()
        with servers(Path(name, "servers"), tcp=True) as running:
            urls = {"POSTGRES_PASSWORD": running.database_url, "REDIS_PASSWORD": running.redis_url}
            passwords = {variable: urlsplit(url).password or "" for variable, url in urls.items()}
            services = compose.services(**passwords, HTTP_PROXY=NO_WAY_OUT, HTTPS_PROXY=NO_WAY_OUT)
            made = Stack(services, running, Path(name), images, free_port())
            yield made
            for process in made.running.values():
                kill_group(process)
                process.wait()
