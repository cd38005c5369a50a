"""Real servers for the tests: started once, on sockets and ports that the system chooses, gone afterwards."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import httpx2
import pytest
from rig import procs
from sqlalchemy import text

from service.domain.specs import JobSpec
from service.embedded import Servers, servers
from service.persistence.database import Database
from service.persistence.migrations import upgrade

START_SECONDS = 90
SHARING = {"browser", "faults", "embedded", "production", "docs"}
"""Folders whose tests share what takes long to start: one process runs them."""
Until = Callable[[dict[str, Any]], bool]
pytest.register_assert_rewrite("machine")  # its assertions tell what differs, as those of tests do


def together(path: Path) -> str:
    """What runs in one process where several test side by side: a file, or a folder that shares its servers."""
    return path.parent.name if path.parent.name in SHARING else str(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long as a whole comes first, so that all processes are done at about the same time."""
    items.sort(key=lambda item: item.path.parent.name not in SHARING)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """In place of the marks that `--dist loadgroup` reads: pytest-xdist 3.8 overlooks them with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return together(Path(nodeid.partition("::")[0]))

    return Together(config, log)


@contextmanager
def data_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own user may pass, which it needs where the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="hone-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Servers]:
    """PostgreSQL and a Redis-protocol server, migrated to the newest schema."""
    with data_folder() as folder, servers(folder) as running:
        upgrade(running.database_url)
        yield running


@pytest.fixture
def database(embedded: Servers) -> Iterator[Database]:
    """An empty database."""
    made = Database(embedded.database_url)
    with made.transaction() as session:
        session.execute(
            text("TRUNCATE jobs, files, keys, login_links, outbox, workers, webhooks, garbage RESTART IDENTITY CASCADE")
        )
    yield made
    made.close()


@dataclass
class S3:
    """An object store on this machine."""

    url: str
    """Of an empty bucket."""
    environment: dict[str, str]
    """What a process needs to reach it, as operators set it."""


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """Moto's server, which speaks S3's protocol."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # each request is a line otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(access)  # before the first client is made
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://{host}:{port}"}  # read from the environment on import only
    fsspec.filesystem("s3").mkdir("hone")
    yield S3("s3://hone", access | {"FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}"})
    server.stop()


@pytest.fixture
def spec() -> Callable[..., JobSpec]:
    """Makes a small valid spec; keyword arguments replace its fields."""

    def make(**changes: Any) -> JobSpec:
        return JobSpec.model_validate(tiny_sft() | changes)

    return make


def tiny_sft(**changes: Any) -> dict[str, Any]:
    """A supervised job of seconds."""
    document: dict[str, Any] = {
        "algorithm": {"type": "sft", "batch_size": 4},
        "model": "tiny",
        "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
        "optimizer": {"learning_rate": 1e-3},
        "steps": 3,
    }
    return document | changes


@dataclass
class Server:
    """A running `hone up`."""

    url: str
    key: str
    data_dir: Path
    process: subprocess.Popen[bytes]

    def client(self, **options: Any) -> httpx2.Client:
        """An HTTP client with the admin key."""
        headers = {"authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def another_key(self, owner: str, role: str = "member") -> str:
        """A key of somebody else."""
        with self.client() as http:
            answer = http.post("/v1/keys", json={"owner": owner, "role": role})
        return str(answer.json()["secret"])

    def submit(self, **changes: Any) -> dict[str, Any]:
        """Submit a job of seconds; keyword arguments replace fields of its spec."""
        with self.client() as http:
            answer = http.post("/v1/jobs", json=tiny_sft(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def wait(
        self, job_id: str, seconds: float = 120, until: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """The job once it has ended, or once `until` holds."""
        over = until or (lambda job: job["status"] in ("succeeded", "failed", "cancelled"))
        deadline = time.monotonic() + seconds
        with self.client() as http:
            while time.monotonic() < deadline:
                job = dict(http.get(f"/v1/jobs/{job_id}").json())
                if over(job):
                    return job
                time.sleep(0.1)
        raise AssertionError(f"job {job_id} did not get there in {seconds} s: {job}")

    def trainers(self) -> list[int]:
        """The processes that train or wait to train; first the one that has used the most processor time."""
        return sorted(procs.of_service(self.data_dir, "worker.trainer"), key=procs.ticks, reverse=True)

    @contextmanager
    def frozen(self, job_id: str, step: int = 2) -> Iterator[int]:
        """The job's trainer stands still once it has done so many steps: nothing runs away from a test that then looks
        at it, or kills it. Its process id; afterwards it goes on.
        """
        self.wait(job_id, until=lambda job: job["progress"]["step"] >= step)
        trainers = self.trainers()
        for trainer in trainers:
            os.kill(trainer, signal.SIGSTOP)
        try:
            yield trainers[0]
        finally:
            for trainer in trainers:
                with suppress(ProcessLookupError):
                    os.kill(trainer, signal.SIGCONT)


def _environment() -> dict[str, str]:
    """Ours, without the developer's own settings; threads that wait for each other crawl on a busy machine, so one."""
    ours = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {name: value for name, value in os.environ.items() if not name.startswith("HONE_")} | ours


def start(data_dir: Path, *options: str, **environment: str) -> Server:
    """`hone up` as a user runs it, once it answers."""
    with (data_dir / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "up", "--data-dir", str(data_dir), "--port", "0", *options],
            env=_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + START_SECONDS
    while not (data_dir / "server.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"hone up did not start:\n{(data_dir / 'up.log').read_text()}")
        time.sleep(0.05)
    url = json.loads((data_dir / "server.json").read_text())["url"]
    return Server(url, (data_dir / "admin.key").read_text().strip(), data_dir, process)


def stop(server: Server) -> None:
    """End it as Ctrl-C does."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One running service for all tests that need one."""
    with data_folder() as folder:
        running = start(folder, HONE_LEASE_SECONDS="6", HONE_POLL_SECONDS="1", HONE_MAX_UPLOAD_BYTES="1000000")
        try:
            yield running
        finally:
            stop(running)


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    """A client of the running service with the admin key."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def launch() -> Callable[..., Server]:
    """Starts a service of one's own, for tests that kill it."""
    return start


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder = Path(f"/var/tmp/hone-disk-{size}-{os.getpid()}")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)])
    try:
        if mounted.returncode:
            pytest.skip("a file system of one's own needs root")
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that is smaller than a checkpoint."""
    with disk("2m") as folder:
        yield folder


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A file system with room for some checkpoints, once its file `ballast` is gone."""
    with disk("48m") as folder:
        with (folder / "ballast").open("wb") as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(1 << 16))
                ballast.flush()
        yield folder
