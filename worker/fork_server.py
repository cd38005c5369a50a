"""The fork server from its worker's side: the process that has imported torch, and the trainers that it forked."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from worker.environment import of_trainers
from worker.protocol import ForkReply, ForkRequest

GRACE_SECONDS = 5.0
FORKS = sys.platform == "linux"
"""Whether trainers may be forked: elsewhere system libraries do not survive that, and none dies with its parent."""


class ForkedTrainer:
    """What `subprocess.Popen` is to a process that was executed: the same methods, as far as they are needed."""

    def __init__(self, server: "ForkServer", number: int) -> None:
        self._server = server
        self._number = number
        self._forked, self._ended = threading.Event(), threading.Event()
        self._pid = 0
        self._status: int | None = None
        self._released = False

    @property
    def pid(self) -> int:
        """Its process id, also that of its group; waits until the server has imported torch."""
        self._forked.wait()
        return self._pid

    def poll(self) -> int | None:
        """Its exit status, -N if signal N ended it, None while it lives."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("worker.trainer", timeout or 0)
        assert self._status is not None
        return self._status

    def kill_group(self) -> None:
        """End it with all that it started; it need not have begun."""
        if not self._released:
            self._released = True
            # The server keeps the number of the group from another use until it reads the release; it may be stopped.
            if self._forked.is_set() and not self._server.ended:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
            self._server.send(ForkRequest(number=self._number, release=True))
            if self._forked.is_set():
                self._ended.wait(GRACE_SECONDS)

    def note(self, reply: ForkReply) -> None:
        """What the server has written about it."""
        self._pid = reply.pid
        self._forked.set()
        if reply.status is not None:
            self._status = reply.status
            self._ended.set()


class ForkServer:
    """`python -m worker.trainer --fork-server-fd N`. Trainers die with it, and all of them with the worker."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.trainer", "--fork-server-fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=of_trainers(),
            )
        self._numbers = itertools.count()
        self._trainers: dict[int, ForkedTrainer] = {}
        self._lock = threading.Lock()
        self.ended = False
        """Whether it is gone, and all trainers with it."""
        self._reader = threading.Thread(target=self._read, name="fork server", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, files: Sequence[int]) -> ForkedTrainer:
        """A trainer with these files: stdin, stdout, stderr and the pipe for its events. It starts at once, or as soon
        as the server has imported torch.
        """
        with self._lock:
            number = next(self._numbers)
            trainer = self._trainers[number] = ForkedTrainer(self, number)
        self.send(ForkRequest(number=number), files)
        if self.ended:
            trainer.note(ForkReply(number=number, pid=0, status=-signal.SIGKILL))
        return trainer

    def send(self, request: ForkRequest, files: Sequence[int] = ()) -> None:
        """Without effect if the server is gone."""
        with suppress(OSError):
            socket.send_fds(self._control, [request.model_dump_json().encode()], files)

    def close(self) -> None:
        """End it, and all trainers that it forked."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._control.close()

    def _read(self) -> None:
        while data := self._receive():
            reply = ForkReply.model_validate_json(data)
            with self._lock:
                trainer = self._trainers[reply.number]
                if reply.status is not None:
                    del self._trainers[reply.number]
            trainer.note(reply)
        with self._lock:
            self.ended = True
            lost, self._trainers = self._trainers, {}
        for number, trainer in lost.items():
            trainer.note(ForkReply(number=number, pid=0, status=-signal.SIGKILL))

    def _receive(self) -> bytes:
        try:
            return self._control.recv(1 << 12)
        except OSError:
            return b""
