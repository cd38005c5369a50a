"""Requests to stop, as something that is looked at between two steps: no step is cut in half."""

import os
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """We were asked to stop."""


class Interrupts:
    """While the block runs, SIGINT, SIGTERM and SIGHUP make the next `pause` raise Stopped; later ones do nothing."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[signal.Signals, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in ASKING:
            self._previous[number] = signal.signal(number, self._ask)
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

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            os.write(2, b"\nStopping already; this takes a moment.\n")  # a buffered stream may be in use right now
        self.asked = True

    def pause(self, seconds: float) -> None:
        """Sleep so long, or until a child dies; Stopped if somebody asked."""
        if not self.asked:
            select.select([self._reader], [], [], seconds)
            self._drain()
        if self.asked:
            raise Stopped

    def _drain(self) -> None:
        try:
            while self._reader.recv(4096):
                continue
        except BlockingIOError:
            return
