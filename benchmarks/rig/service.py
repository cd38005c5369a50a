"""A whole service whose processes, servers, network and disk can be broken one by one."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

import service
from rig import procs
from rig.parts import Part, send
from rig.proxy import Proxy
from rig.receiver import Receiver
from service import commands, failpoints
from service.local.embedded.places import places
from service.local.embedded.postgres import Postgres
from service.local.embedded.valkey import Valkey
from service.local.processes import Program
from service.persistence.database import Database
from service.persistence.migrations import upgrade

ROOT = Path(service.__file__).parents[1]
SOCKETS = [".s.PGSQL.5432", "redis.sock"]
TEND_SECONDS = 0.05
START_SECONDS = 180
ENDS = [f"fine_tuning.job.{how}" for how in ("succeeded", "failed", "cancelled")]
STALL_MARGIN = 1.5
"""How much longer than its lease a worker sleeps that is to lose it."""


class Service:
    """`with Service(folder, workers=2) as running`: all its processes are our children and end with the block."""

    def __init__(self, folder: Path, workers: int = 2, lease_seconds: float = 3.0, disk_mb: int = 0) -> None:
        self.data, self.lease = folder, lease_seconds
        self.storage = folder / "storage"
        self.schedule: list[str] = []
        """What was broken, and when."""
        self._workers, self._disk_mb = workers, disk_mb
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._heals: list[tuple[float, Callable[[], object]]] = []
        self._over = threading.Event()
        self._fired_bytes = 0
        self.receiver = Receiver()
        self._stack.callback(self.receiver.close)
        self.parts: dict[str, Part] = {}
        self.proxies: dict[str, Proxy] = {}
        self.on_fired: Callable[[str, str], None] = lambda name, action: None
        self.plan: Callable[[Part], None] = lambda part: None
        """Called before each start of a part: may arm it."""

    def __enter__(self) -> "Service":
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._stack.close()

    def _open(self) -> None:
        where = self._stack.enter_context(places(self.data))
        self._stack.callback(self._stop_parts)
        where.logs.mkdir(mode=0o700)
        self._mount()
        postgres, valkey = Postgres(where), Valkey(where)
        postgres.initialise()
        postgres.wait(self._part(postgres.program()).child)
        valkey.wait(self._part(valkey.program()).child)
        self.redis_url = valkey.url
        upgrade(postgres.url)
        self.database = Database(postgres.url)
        self._stack.callback(self.database.close)
        with self.database.transaction() as session:
            self._key = commands.create_key(session, "soak", "admin")[1]
            hook = commands.create_webhook(session, "soak", self.receiver.url, ENDS, private=True)
            self.receiver.secret = hook.secret
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        servers = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url}
        uvicorn = ["uvicorn", "--factory", "service.app:create_app", "--port", str(self.port), "--no-access-log"]
        self._ours("api", servers, *uvicorn, "--timeout-graceful-shutdown", "3")
        self._ours("dispatcher", servers, "service.dispatcher")
        for number in range(1, self._workers + 1):
            self._worker(f"worker-{number}", where.sockets)
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)
        self._tender.start()
        self.until(self._healthy, START_SECONDS, "the API answers")

    def _worker(self, name: str, sockets: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="hone-net-", dir="/tmp"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        proxy = self.proxies[name] = Proxy(folder / "net", sockets, SOCKETS)
        self._stack.callback(proxy.close)
        urls = {
            "DATABASE_URL": f"postgresql+psycopg://hone@/hone?host={proxy.folder}",
            "REDIS_URL": f"unix://{proxy.folder}/redis.sock",
        }
        self._ours(name, urls, "celery", "-A", "worker.app", "worker", "--without-gossip", "--without-mingle")

    def _ours(self, name: str, urls: dict[str, str], *module: str) -> Part:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("HONE_")}
        own = {
            "HONE_DATA_DIR": str(self.data),
            "STORAGE_URL": str(self.storage),
            "HONE_LEASE_SECONDS": str(self.lease),
            "HONE_POLL_SECONDS": "0.5",
            "HONE_SILENCE_SECONDS": "12",
            "HONE_GRACE_SECONDS": "8",
            "HONE_STORAGE_PATIENCE_SECONDS": "30",
            "HONE_SWEEP_SECONDS": "5",
            "HONE_WEBHOOK_ALLOW_PRIVATE": "true",
            "HONE_SPARE_TRAINER": "false",  # a killed worker would take two trainers along, and each costs seconds
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        argv = (sys.executable, "-m", *module)
        return self._part(Program(name, argv, plain | own | urls, directory=ROOT, grace=20.0))

    def _part(self, program: Program) -> Part:
        part = self.parts[program.name] = Part(program, self.data / "logs", lambda part: self.plan(part))  # noqa: PLW0108 - as it is then
        return part

    def _mount(self) -> None:
        """A small disk of its own for the storage, where we may."""
        self.storage.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={self._disk_mb}m", "tmpfs", str(self.storage)]
        self.has_disk = bool(self._disk_mb) and os.geteuid() == 0
        if self.has_disk:
            self.has_disk = subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
        if self.has_disk:
            self._stack.callback(subprocess.run, ["umount", "-l", str(self.storage)], capture_output=True, check=False)

    def _stop_parts(self) -> None:
        for pid in procs.of_service(self.data, ""):
            send(pid, signal.SIGCONT)
        for part in reversed(self.parts.values()):
            part.stop()

    # -- breaking ---------------------------------------------------------------------------------------------------

    def broke(self, what: str) -> None:
        """Remember a fault, to be able to repeat it."""
        self.schedule.append(f"{time.monotonic() - self._began:8.2f} s  {what}")

    def heal_in(self, seconds: float, heal: Callable[[], object]) -> None:
        """Have something repaired later, whatever happens meanwhile."""
        self._heals.append((time.monotonic() + seconds, heal))

    @property
    def wounded(self) -> bool:
        """Whether something still waits to be repaired."""
        return bool(self._heals)

    def heal_all(self) -> None:
        """Repair everything now."""
        while self._heals:
            self._heals.pop()[1]()

    def stall(self, pid: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        if send(pid, signal.SIGSTOP):
            self.heal_in(seconds, lambda: send(pid, signal.SIGCONT))

    def trainers(self) -> list[int]:
        """Of all workers."""
        return procs.trainers(self.data)

    def flush_redis(self) -> None:
        """Empty its memory."""
        import redis

        redis.Redis.from_url(self.redis_url, socket_timeout=2).flushall()

    def fill_disk(self, seconds: float) -> None:
        """Not a byte left in the storage, for a while."""
        filler = self.storage / ".filler"
        with filler.open("wb", buffering=0) as file:
            block = b"\0" * (1 << 20)
            while _fits(file.write, block):
                continue
            while _fits(file.write, b"\0" * 512):
                continue
        self.heal_in(seconds, lambda: filler.unlink(missing_ok=True))

    def _tend(self) -> None:
        while not self._over.wait(TEND_SECONDS):
            now = time.monotonic()
            for entry in [entry for entry in self._heals if entry[0] <= now]:
                entry[1]()
                self._heals.remove(entry)
            self._read_fired()
            for part in list(self.parts.values()):
                part.tend()

    def _read_fired(self) -> None:
        """Failpoints say when they act; whom they have stopped we continue."""
        path = self.data / "failpoints" / failpoints.FIRED
        if not path.exists():
            return
        lines = path.read_bytes()[self._fired_bytes :].decode().splitlines(keepends=True)
        for line in (line for line in lines if line.endswith("\n")):
            self._fired_bytes += len(line)
            _, name, action, pid = line.split()
            self.broke(f"failpoint {name} {action} (pid {pid})")
            if action == "stall":
                self.heal_in(self.lease + STALL_MARGIN, partial(send, int(pid), signal.SIGCONT))
            self.on_fired(name, action)

    def visits(self, name: str) -> int:
        """How often a failpoint was reached by processes that were armed with it."""
        path = self.data / "failpoints" / name
        return path.stat().st_size if path.exists() else 0

    # -- using ------------------------------------------------------------------------------------------------------

    def client(self) -> httpx2.Client:
        """With an admin's key."""
        return httpx2.Client(base_url=self.url, headers={"authorization": f"Bearer {self._key}"}, timeout=20)

    def submit(self, spec: dict[str, Any], seconds: float = 60) -> str:
        """The id of a job: repeated with the same key until 201 is seen, as a careful client does."""
        key, deadline = secrets.token_hex(8), time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code == httpx2.codes.CREATED:
                return str(answer.json()["id"])
            if answer is not None and answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR:
                raise AssertionError(f"submit: {answer.status_code} {answer.text}")
            time.sleep(0.2)
        raise AssertionError(f"no 201 within {seconds} s")

    def forget(self, job_id: str) -> None:
        """Delete a job that has had its verdict: a soak would fill the disk for good."""
        self.request("DELETE", f"/v1/jobs/{job_id}")

    def post(self, path: str, **options: Any) -> httpx2.Response | None:
        """One try; None when nobody answered."""
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """One try; None when nobody answered."""
        try:
            with self.client() as http:
                return http.request(method, path, **options)
        except httpx2.TransportError:
            return None

    def until(self, holds: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.told()}")
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz", timeout=2).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def told(self, *words: str) -> str:
        """The schedule of faults, and what the logs say (about `words`)."""
        lines = [f"logs: {self.data / 'logs'}", "faults:", *self.schedule]
        for path in sorted((self.data / "logs").glob("*.log")):
            log = path.read_text(errors="replace").splitlines()
            log = [line for line in log if any(word in line for word in words)] if words else log
            lines += [f"--- {path.name}", *log[-15:]]
        return "\n".join(lines)


@contextmanager
def serving(keep: Callable[[], bool] = lambda: False, **options: Any) -> Iterator[Service]:
    """A service in a temporary folder, which stays when something failed or when `keep` says so."""
    folder = Path(tempfile.mkdtemp(prefix="hone-faults-", dir="/var/tmp"))
    folder.chmod(0o755)  # as root, PostgreSQL's own user must be able to pass
    with Service(folder, **options) as running:
        yield running
        (folder / "schedule.json").write_text(json.dumps(running.schedule))
    if not keep():
        shutil.rmtree(folder, ignore_errors=True)


def _fits(write: Callable[[bytes], int | None], block: bytes) -> bool:
    try:
        return write(block) == len(block)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
