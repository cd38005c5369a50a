"""The processes of a service, each of which can be killed, stalled and started again by itself."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from service.local.processes import Program, RunningProgram

RESTART_SECONDS = 0.3


class Part:
    """One program that is started again whenever it dies, as an init system would."""

    def __init__(self, program: Program, logs: Path, on_start: Callable[["Part"], None] = lambda _: None) -> None:
        self.program = program
        self.name = program.name
        self._logs = logs
        self._on_start = on_start
        self._lock = threading.Lock()
        self._died_at: float | None = None
        self._wanted = True
        self.child = self._start()

    def _start(self) -> RunningProgram:
        self._on_start(self)
        return RunningProgram(self.program, self._logs)

    @property
    def pid(self) -> int:
        """Of the process as it is now."""
        return self.child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs at the moment."""
        return self.child.exit_code() is None

    def send(self, number: signal.Signals) -> None:
        """A signal, if there is somebody to hear it."""
        send(self.pid, number)

    @property
    def failpoints(self) -> str:
        """What it has been armed with."""
        return self.program.environment.get("HONE_FAILPOINTS", "")

    def arm(self, failpoints: str) -> None:
        """From its next start on, these failpoints."""
        self.program = replace(self.program, environment={**self.program.environment, "HONE_FAILPOINTS": failpoints})

    def restart(self, failpoints: str = "") -> None:
        """Stop it as an operator does, and start it with other failpoints."""
        with self._lock:
            self.arm(failpoints)
            self.send(signal.SIGCONT)
            self.child.stop()
            self.child = self._start()

    def tend(self) -> None:
        """Start it again if it died a moment ago."""
        with self._lock:
            if self.alive or not self._wanted:
                return
            if self._died_at is None:
                self._died_at = time.monotonic()
            elif time.monotonic() - self._died_at > RESTART_SECONDS:
                self._died_at = None
                self.child.stop()  # what is left of its group
                self.child = self._start()

    def stop(self) -> None:
        """For good."""
        with self._lock:
            self._wanted = False
            self.send(signal.SIGCONT)
            self.child.stop()


def send(pid: int, number: signal.Signals) -> bool:
    """A signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
