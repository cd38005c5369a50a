"""Child processes: they end with this process, are stopped in order, and are started again when they die."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hone.errors import Unavailable

Pause = Callable[[float], None]
"""Sleeps up to so many seconds; may raise Interrupted."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a dead program is started again
STABLE = 60.0  # seconds; after a program has run so long, its next restart has the first delay again
LARGEST_LOG = 10 * 2**20  # bytes; a longer log is moved aside when its program starts
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """A user of the system."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run, and how to stop it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    directory: Path = Path("/")  # its working directory; ours may be closed to its account
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0  # seconds between the stop signal and SIGKILL
    death_signal: signal.Signals = signal.SIGKILL  # what the kernel sends when this process is killed
    before: Callable[[], None] | None = None  # runs before every start


class RunningProgram:
    """A child process, the leader of its own session: a Ctrl-C in the terminal reaches only this process."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.started = time.monotonic()
        if program.before is not None:
            program.before()
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        account, parent = self.program.account, os.getpid()
        with _open_log(self.log) as log:
            return subprocess.Popen(
                self.program.argv,
                cwd=self.program.directory,
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=lambda: _die_with(parent, self.program.death_signal),  # noqa: PLW1509 - one system call
            )

    @property
    def pid(self) -> int:
        """Of the process, of its group and of its session."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def stop(self) -> None:
        """Send its stop signal, wait, then kill; afterwards nothing of its process group is left."""
        if self.exit_code() is None:
            self._process.send_signal(self.program.stop_signal)
        try:
            self._process.wait(self.program.grace)
        except subprocess.TimeoutExpired:
            self._kill_group()
        self._process.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            return

    def failure(self) -> Unavailable:
        """An error for people: how it ended, and the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        ending = _ending(self.exit_code())
        return Unavailable("\n  ".join([f"{self.program.name} {ending}; the end of {self.log}:", *lines]))


def run(program: Program, logs: Path, pause: Pause = time.sleep) -> None:
    """Run to the end; Unavailable unless it exits with 0. It is stopped if `pause` raises."""
    child = RunningProgram(program, logs)
    try:
        while child.exit_code() is None:
            pause(0.02)
    finally:
        child.stop()
    if child.exit_code() != 0:
        raise child.failure()


class ProcessTree:
    """Programs that run until they are stopped; one that dies is started again, later each time."""

    def __init__(self, logs: Path, echo: Callable[[str], None] = print) -> None:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs = logs
        self._echo = echo
        self._children: dict[str, RunningProgram] = {}
        self._delays: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def start(self, program: Program) -> RunningProgram:
        """Start it, and again whenever it dies."""
        child = self._children[program.name] = RunningProgram(program, self.logs)
        return child

    def restart_dead(self) -> float:
        """Start dead programs whose delay is over; the seconds until the next call is due."""
        now = time.monotonic()
        for name, child in self._children.items():
            if child.exit_code() is not None and name not in self._due:
                self._schedule(name, child, now)
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self.start(self._children[name].program)
        return min((due - now for due in self._due.values()), default=STABLE)

    def _schedule(self, name: str, child: RunningProgram, now: float) -> None:
        child.stop()  # the rest of its group
        lived = now - child.started
        delay = FIRST_DELAY if lived > STABLE else self._delays.get(name, FIRST_DELAY)
        self._due[name] = now + delay
        self._delays[name] = min(2 * delay, LONGEST_DELAY)
        self._echo(f"{name} {_ending(child.exit_code())}; starting it again in {delay:g} s (log: {child.log})")

    def stop(self) -> None:
        """Stop everything, the last started first."""
        while self._children:
            _, child = self._children.popitem()
            child.stop()


def _open_log(path: Path) -> BinaryIO:
    """Opens a log for appending; only this user can read it."""
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def _ending(code: int | None) -> str:
    if code is None:
        return "does not answer"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _die_with(parent: int, death_signal: signal.Signals) -> None:
    """In the new process: ask the kernel to end it when its parent dies, in whatever way (Linux only)."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
