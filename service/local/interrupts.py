"""Signals that ask to stop, checked between two steps so that no step is interrupted."""

import os
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal has asked this process to stop."""


class Interrupts:
    """While the block runs, SIGINT, SIGTERM and SIGHUP make the next `pause` raise Interrupted."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._request_stop)
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # it only ends a pause
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            os.write(2, b"\nStopping already; this takes a moment.\n")  # a buffered stream may be in use right now
        self.requested = True

    def pause(self, seconds: float) -> None:
        """Sleep so long, or until a child dies; Interrupted if a signal has come."""
        if not self.requested:
            select.select([self._reader], [], [], seconds)
            self._drain()
        if self.requested:
            raise Interrupted

    def _drain(self) -> None:
        try:
            while self._reader.recv(4096):
                continue
        except BlockingIOError:
            return
