"""Real servers for the tests: started once, on sockets and ports that the system chooses, gone afterwards."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
import pytest
from rig import procs
from rig.disks import disk, fill
from rig.s3 import S3, object_store
from sqlalchemy import text
from starlette.testclient import TestClient

from hone.documents.validation import LENIENT
from service.api.dependencies import Services
from service.app import described
from service.domain.specs import JobSpec
from service.local.embedded import Servers, servers
from service.messaging.wakeups import Listener, Publisher
from service.persistence import keys
from service.persistence.database import Database, with_driver
from service.persistence.migrations import upgrade
from service.settings import Settings
from service.storage.store import Storage

# Before torch is imported: threads of one process that wait for each other crawl on cores that other tests use as well,
# and the sums of a test should not depend on how many cores there are.
os.environ["OMP_NUM_THREADS"] = "1"
START_SECONDS = 180  # all limits are for machines that do much else: what waits, waits for something to happen
STEP_SECONDS = 0.02
"""What a step of training takes at least, in the service that the tests share: a job of many steps, which a test looks
at or breaks, neither runs away from it nor takes a whole core from what else is tested at the same time.
"""
T = TypeVar("T")
NO_WORKER_HAS = {"gpus": 1}
SHARING = ("faults", "browser", "production", "embedded", "docs")
"""Folders, wherever they are, whose tests share what takes long to start: one process runs each of them."""
LONG = ("test_learning.py", "fields", "life", "e2e", "parity", "test_up.py", "test_backup.py", "test_supervisor.py")
"""Folders and files that take so long that none of them may be the last to start, the longest first."""
Until = Callable[[dict[str, Any]], bool]
pytest.register_assert_rewrite("machine")  # its assertions tell what differs, as those of tests do


def together(path: Path) -> str:
    """What runs in one process where several test side by side: a folder that shares its servers, or a file."""
    shared = [folder for folder in path.parents if folder.name in SHARING]
    return str(shared[0] if shared else path)


def rank(path: Path) -> int:
    """What takes long as a whole comes first, so that all processes are done at about the same time."""
    order = [*SHARING, *LONG]
    return min((order.index(part) for part in path.parts if part in order), default=len(order))


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the suite does a part of, to be quick; Hypothesis has an option of its own."""
    parser.addoption("--seeds", type=int, default=1, help="of each test of learning (default: 1)")
    parser.addoption("--lives", type=int, default=12, help="of jobs in the test of orders of events (default: 12)")
    parser.addoption("--faults-seed", type=int, default=0, help="which sixth of the failpoints acts (default: 0)")


def pytest_configure() -> None:
    """A folder that was renamed would otherwise lose its place in silence, and the suite become slower."""
    folder = Path(__file__).parent
    gone = [name for name in (*SHARING, *LONG) if not any(folder.rglob(name))]
    if gone:
        raise pytest.UsageError(f"tests/conftest.py orders what is not there: {', '.join(gone)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which processes take what they run."""
    items.sort(key=lambda item: rank(item.path.relative_to(Path(__file__).parent)))


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
    opened = Database(embedded.database_url)
    with opened.transaction() as session:
        session.execute(
            text("TRUNCATE jobs, files, keys, login_links, outbox, workers, webhooks, garbage RESTART IDENTITY CASCADE")
        )
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An object store on this machine."""
    with object_store() as store:
        yield store


@pytest.fixture
def local_api(embedded: Servers, database: Database, tmp_path: Path) -> Callable[[Storage], TestClient]:
    """Makes an API in this process, on the given storage, and its client with an admin's key."""
    with database.transaction() as session:
        _, secret = keys.add(session, "ada", "admin")

    def make(storage: Storage) -> TestClient:
        config = Settings(
            database_url=embedded.database_url, redis_url=embedded.redis_url, storage_url="unused", data_dir=tmp_path
        )
        app = described()
        publisher, listener = Publisher(embedded.redis_url), Listener(embedded.redis_url)
        app.state.services = Services(config, database, storage, publisher, listener)
        return TestClient(app, headers={"authorization": f"Bearer {secret}"})

    return make


@pytest.fixture
def in_a_loop() -> Callable[[Callable[[], Coroutine[Any, Any, T]]], T]:
    """Runs a coroutine function, for a minute at most, in a thread: that of the tests may have a browser's loop."""

    async def bounded(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with anyio.fail_after(60):
            return await test()

    def run(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, bounded, test).result()

    return run


@pytest.fixture
def spec() -> Callable[..., JobSpec]:
    """Makes a small valid spec; keyword arguments replace its fields."""

    def make(**changes: Any) -> JobSpec:
        return JobSpec.model_validate(tiny_sft() | changes)

    return make


@pytest.fixture
def with_gpus() -> Callable[..., JobSpec]:
    """Makes the spec of a row with so many devices: today's door refuses more than one, the queue counts them all."""

    def make(gpus: int, **resources: Any) -> JobSpec:
        return JobSpec.model_validate(tiny_sft(resources={"gpus": gpus, **resources}), context=LENIENT)

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

    @property
    def database_url(self) -> str:
        """Of its PostgreSQL, as its API has it."""
        (api,) = procs.of_service(self.data_dir, "service.app:create_app")[:1]
        environment = Path(f"/proc/{api}/environ").read_text().split("\0")
        return with_driver(next(line.partition("=")[2] for line in environment if line.startswith("DATABASE_URL=")))

    def client(self, **options: Any) -> httpx2.Client:
        """An HTTP client with the admin key."""
        headers = {"authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, **options)

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
        self, job_id: str, seconds: float = 300, until: Callable[[dict[str, Any]], bool] | None = None
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
        return sorted(procs.trainers(self.data_dir), key=procs.ticks, reverse=True)

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
    defaults = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {name: value for name, value in os.environ.items() if not name.startswith("HONE_")} | defaults


def start(data_dir: Path, *options: str, **environment: str) -> Server:
    """`hone up` as a user runs it, once it answers."""
    with (data_dir / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hone.cli", "up", "--data-dir", str(data_dir), "--port", "0", *options],
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
        running = start(
            folder,
            HONE_LEASE_SECONDS="6",
            HONE_POLL_SECONDS="1",
            HONE_MAX_UPLOAD_BYTES="1000000",
            HONE_TRUST_FORWARDED_PREFIX="true",
            HONE_FAILPOINTS=f"step.begun=delay:{STEP_SECONDS}*all",
        )
        try:
            yield running
        finally:
            stop(running)


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    """A client of the running service with the admin key."""
    with server.client() as client:
        yield client


@pytest.fixture
def waiting(server: Server, http: httpx2.Client) -> Iterator[Callable[..., dict[str, Any]]]:
    """Submits a job that waits, for GPUs that no worker here has: for what does not need that it is trained, which
    takes a trainer's start of seconds. It is cancelled afterwards.
    """
    job_ids: list[str] = []

    def submit(**changes: Any) -> dict[str, Any]:
        job = server.submit(resources=NO_WORKER_HAS, **changes)
        job_ids.append(job["id"])
        return job

    yield submit
    for job_id in job_ids:
        http.post(f"/v1/jobs/{job_id}/cancel")  # refused where it was cancelled or deleted already


@pytest.fixture(scope="session")
def launch() -> Callable[..., Server]:
    """Starts a service of one's own, for tests that kill it; without a spare trainer, which would start for nothing."""
    return partial(start, HONE_SPARE_TRAINER="false")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that is smaller than a checkpoint."""
    with disk("2m") as folder:
        yield folder


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A file system with room for some checkpoints, once its file `ballast` is gone."""
    with disk("48m") as folder:
        fill(folder / "ballast")
        yield folder
