"""`hone up`: database, broker, API, dispatcher and worker in one supervised tree with one data directory."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import service
from hone.datadir import DataDir
from hone.errors import Invalid
from service.local.embedded.accounts import unprivileged
from service.local.embedded.places import Places, places, prepare
from service.local.embedded.postgres import Postgres
from service.local.embedded.valkey import Valkey
from service.local.interrupts import Interrupted, Interrupts
from service.local.processes import Pause, ProcessTree, Program, RunningProgram, run

ROOT = Path(service.__file__).parents[1]
READY_SECONDS = 120.0
# Workers have nothing to tell each other, and gossip fails when Redis starts again.
QUIET = ("--without-gossip", "--without-mingle")
WORKER_GRACE = 40.0  # twice what jobs get to save by default (HONE_GRACE_SECONDS)
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
CONNECTABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Options:
    """The options of `hone up`."""

    data_dir: Path
    host: str
    port: int  # 0: a free one
    worker: bool
    echo: Callable[[str], None]
    ready: Callable[[str, DataDir], None]  # gets the URL once it answers


def up(options: Options) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; however it ends, no process remains."""
    with Interrupts() as interrupts, ExitStack() as stack:
        try:
            _Service(options, interrupts.pause, stack).run()
        except Interrupted:
            options.echo("Stopping.")


class _Service:
    """The parts in the order in which they need each other; `stack` stops them in the reverse order."""

    def __init__(self, options: Options, pause: Pause, stack: ExitStack) -> None:
        self.options, self.pause, self.stack = options, pause, stack
        self.data = DataDir(options.data_dir.absolute())
        self.embedded = [name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name)]
        self.environment = {**os.environ, "HONE_DATA_DIR": str(self.data.root), "STORAGE_URL": self._storage()}
        if options.host in LOOPBACK:  # only users of this machine can create webhooks
            self.environment.setdefault("HONE_WEBHOOK_ALLOW_PRIVATE", "true")

    def run(self) -> None:
        """Start everything, and restart what dies until `pause` raises."""
        if not self.data.root.exists():  # a refusal must not leave a new directory behind
            available_port(self.options.host, self.options.port)
        prepare(self.data.root, unprivileged() if self.embedded else None)
        self.stack.enter_context(self.data.locked())
        port = available_port(self.options.host, self.options.port)
        self.tree = ProcessTree(self.data.root / "logs", self.options.echo)
        where = self.stack.enter_context(places(self.data.root)) if self.embedded else None
        self.stack.callback(self.tree.stop)
        if where:
            self._start_servers(where)
        self._prepare_database()
        self._start_api(port)
        self._start("dispatcher", "service.dispatcher")
        if self.options.worker:
            self._start("worker", "celery", "-A", "worker.app", "worker", *QUIET, grace=WORKER_GRACE)
        self.data.announce(self.url)
        self.options.ready(self.url, self.data)
        while True:
            self.pause(self.tree.restart_dead())

    def _storage(self) -> str:
        """As an absolute path, because child processes have another working directory."""
        url = os.environ.get("STORAGE_URL") or str(self.data.storage)
        return url if "://" in url else str(Path(url).absolute())

    def _start_servers(self, where: Places) -> None:
        if "DATABASE_URL" in self.embedded:
            postgres = Postgres(where)
            postgres.initialise(self.pause)
            postgres.wait(self.tree.start(postgres.program()), self.pause)
            self.environment["DATABASE_URL"] = postgres.url
        if "REDIS_URL" in self.embedded:
            valkey = Valkey(where)
            valkey.wait(self.tree.start(valkey.program()), self.pause)
            self.environment["REDIS_URL"] = valkey.url

    def _prepare_database(self) -> None:
        self._run("migrate", "hone.cli", "migrate")
        if not self.data.admin_key.exists():
            key = ["create-key", "--owner", "admin", "--role", "admin", "--file", str(self.data.admin_key)]
            self._run("create-key", "hone.cli", *key)

    def _start_api(self, port: int) -> None:
        host = self.options.host
        self.url = base_url(host, port) + self.environment.get("HONE_ROOT_PATH", "").rstrip("/")
        flags = ["--factory", "service.app:create_app", "--host", host, "--port", str(port)]
        api = self._start("api", "uvicorn", *flags, "--timeout-graceful-shutdown", "3", "--no-access-log")
        deadline = time.monotonic() + READY_SECONDS
        while not _healthy(self.url):
            if api.exit_code() is not None or time.monotonic() > deadline:
                raise api.failure()
            self.pause(0.05)

    def _start(self, name: str, *module: str, grace: float = 10.0) -> RunningProgram:
        return self.tree.start(self._program(name, module, grace))

    def _run(self, name: str, *module: str) -> None:
        run(self._program(name, module, grace=10.0), self.tree.logs, self.pause)

    def _program(self, name: str, module: tuple[str, ...], grace: float) -> Program:
        argv = (sys.executable, "-m", *module)
        return Program(name, argv, self.environment, directory=ROOT, grace=grace)


def available_port(host: str, port: int) -> int:
    """`port`, or a free one for 0; Invalid if `host` cannot listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family) as listener:
            free: int = listener.getsockname()[1]
            return free
    except OSError as error:
        raise Invalid(
            f"cannot listen on port {port} of {host} ({error.strerror}): choose another --port (0 takes a free one) "
            "or another --host",
            param="port",
        ) from None


def base_url(host: str, port: int) -> str:
    """The URL of the API for programs on this machine."""
    name = CONNECTABLE.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _healthy(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
