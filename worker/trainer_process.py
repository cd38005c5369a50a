"""The trainer as its supervisor sees it: a process group, two pipes, and lines of text."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from worker.training.events import Alive, Assignment, Command, Event, Message, Stop, decode, encode

GRACE_SECONDS = 5.0
STARTUP_SECONDS = 60.0  # that a trainer may be silent beyond the limit, while it imports torch
LINE_CHARACTERS = 4000


@dataclass(frozen=True)
class Line:
    """Something that the trainer printed."""

    stream: str
    text: str


Heard = Event | Line


class TrainerProcess:
    """`python -m worker.trainer`, started before there is work for it: importing torch takes seconds."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.trainer", "--events-fd", str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[writing],
                start_new_session=True,  # a process group of its own: a terminal's Ctrl-C is the worker's affair
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._heard: queue.SimpleQueue[Heard | None] = queue.SimpleQueue()
        self._heard_at = time.monotonic()
        self._open_pipes = 3
        self._readers = [
            self._read(os.fdopen(reading, "rb"), decode),
            self._read(self._process.stdout, lambda line: _line("stdout", line)),
            self._read(self._process.stderr, lambda line: _line("stderr", line)),
        ]

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    def start(self, assignment: Assignment) -> None:
        """Give it its job."""
        self._heard_at = time.monotonic() + STARTUP_SECONDS
        self._tell(assignment)

    def ask(self, command: Stop) -> None:
        """Ask it to stop at the end of its step."""
        self._tell(Command(command=command))

    @property
    def silent_seconds(self) -> float:
        """Since it last said anything, if only that it lives."""
        return time.monotonic() - self._heard_at

    def hear(self, seconds: float) -> list[Heard] | None:
        """What it said since the last call: waits at most `seconds` for the first; None once all pipes are closed."""
        heard: list[Heard] = []
        wait: float = seconds
        while self._open_pipes:
            try:
                one = self._heard.get(timeout=wait) if wait else self._heard.get_nowait()
            except queue.Empty:
                return heard
            if one is None:
                self._open_pipes -= 1
            else:
                heard.append(one)
                wait = 0.0
        return heard or None

    def ending(self) -> str:
        """How the process ended, in words."""
        code = self._process.wait(GRACE_SECONDS)
        if code < 0:
            return f"the trainer was killed by {signal.Signals(-code).name}"
        return f"the trainer exited with status {code} before it was done"

    def kill(self) -> None:
        """End the whole group, now."""
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(GRACE_SECONDS)
        if self._process.stdin:
            with suppress(BrokenPipeError):  # something was said to it that it did not live to read
                self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _tell(self, message: Message) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(encode(message).encode())
            stdin.flush()
        except BrokenPipeError:
            return  # it died; its pipes' end tells the rest

    def _read(self, pipe: IO[bytes] | None, parse: Callable[[bytes], Heard]) -> threading.Thread:
        assert pipe is not None

        def run() -> None:
            with pipe:
                for line in pipe:
                    self._heard_at = time.monotonic()
                    one = parse(line)
                    if not isinstance(one, Alive):
                        self._heard.put(one)
            self._heard.put(None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def _line(stream: str, line: bytes) -> Line:
    return Line(stream, line.decode(errors="replace").rstrip("\n").replace("\x00", "")[:LINE_CHARACTERS])
