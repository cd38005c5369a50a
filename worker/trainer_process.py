"""The trainer process from its supervisor's side: started as a process group, sent messages, read event by event."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from worker.environment import of_trainers
from worker.fork_server import ForkedTrainer, ForkServer
from worker.protocol import Alive, Assignment, Command, Event, Message, Stop, decode, encode

GRACE_SECONDS = 5.0
STARTUP_SECONDS = 60.0  # added to the heartbeat's timeout at the start, while the trainer imports torch
LINE_CHARACTERS = 4000


@dataclass(frozen=True)
class LogLine:
    """A line that the trainer printed."""

    stream: str
    text: str


TrainerOutput = Event | LogLine
"""What the supervisor reads from a trainer."""


class ExecutedTrainer(subprocess.Popen[bytes]):
    """`python -m worker.trainer`, with stdin, stdout, stderr and a pipe for its events."""

    def __init__(self, files: Sequence[int]) -> None:
        stdin, stdout, stderr, events = files
        super().__init__(
            [sys.executable, "-m", "worker.trainer", "--events-fd", str(events)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[events],
            env=of_trainers(),
            start_new_session=True,  # a process group of its own: a terminal's Ctrl-C reaches only the worker
        )

    def kill_group(self) -> None:
        """End it with all that it started."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


class TrainerProcess:
    """A process that trains one job: forked from one that has imported torch, or executed, which takes the seconds of
    the import; it is then started before there is work for it.
    """

    def __init__(self, server: ForkServer | None = None) -> None:
        theirs, ours = [], []
        try:
            for reads in (True, False, False, False):  # stdin, stdout, stderr, events
                reading, writing = os.pipe()
                theirs.append(reading if reads else writing)
                ours.append(writing if reads else reading)
            self._process: ExecutedTrainer | ForkedTrainer = (
                ExecutedTrainer(theirs) if server is None else server.fork(theirs)
            )
        except OSError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        stdin, stdout, stderr, events = ours
        self._stdin = os.fdopen(stdin, "wb")
        self._outputs: queue.SimpleQueue[TrainerOutput | None] = queue.SimpleQueue()
        """With a None for each pipe that was closed."""
        self._last_output_at = time.monotonic()
        self._open_pipes = 3
        self._readers = [
            self._start_reader(events, decode),
            self._start_reader(stdout, lambda line: _log_line("stdout", line)),
            self._start_reader(stderr, lambda line: _log_line("stderr", line)),
        ]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, also that of its group."""
        return self._process.pid

    def start(self, assignment: Assignment) -> None:
        """Send it its job."""
        self._last_output_at = time.monotonic() + STARTUP_SECONDS
        self._send(assignment)

    def request_stop(self, command: Stop) -> None:
        """Ask it to pause or cancel at the end of its step."""
        self._send(Command(command=command))

    @property
    def seconds_since_output(self) -> float:
        """Since it last sent or printed anything; heartbeats count."""
        return time.monotonic() - self._last_output_at

    def read(self, seconds: float) -> list[TrainerOutput] | None:
        """The events and lines since the last call; waits at most `seconds` for the first. None once all pipes are
        closed.
        """
        outputs: list[TrainerOutput] = []
        wait: float = seconds
        while self._open_pipes:
            try:
                output = self._outputs.get(timeout=wait) if wait else self._outputs.get_nowait()
            except queue.Empty:
                return outputs
            if output is None:
                self._open_pipes -= 1
            else:
                outputs.append(output)
                wait = 0.0
        return outputs or None

    def exit_reason(self) -> str:
        """How the process ended, as a sentence."""
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "the trainer closed its pipes before it was done"
        if code < 0:
            return f"the trainer was killed by {signal.Signals(-code).name}"
        return f"the trainer exited with status {code} before it was done"

    def kill(self) -> None:
        """Kill the whole process group."""
        self._process.kill_group()
        for reader in self._readers:
            reader.join(GRACE_SECONDS)
        with suppress(BrokenPipeError):  # it died before it read all that was sent
            self._stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _send(self, message: Message) -> None:
        try:
            self._stdin.write(encode(message).encode())
            self._stdin.flush()
        except BrokenPipeError:
            return  # it died: `read` returns None, and `exit_reason` says why

    def _start_reader(self, descriptor: int, parse: Callable[[bytes], TrainerOutput]) -> threading.Thread:
        def run() -> None:
            try:
                with os.fdopen(descriptor, "rb") as pipe:
                    for line in pipe:
                        self._last_output_at = time.monotonic()
                        output = parse(line)
                        if not isinstance(output, Alive):
                            self._outputs.put(output)
            finally:  # a line that cannot be parsed closes the pipe, which ends the trainer
                self._outputs.put(None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def _log_line(stream: str, line: bytes) -> LogLine:
    return LogLine(stream, line.decode(errors="replace").rstrip("\n").replace("\x00", "")[:LINE_CHARACTERS])
