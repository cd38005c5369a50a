"""Child processes: spawned so that none outlives us, stopped in order, and started again when they die."""

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

from service.domain.errors import Unavailable

Pause = Callable[[float], None]
"""Sleeps up to so many seconds; may raise to interrupt what waits."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a dead program is started again
SETTLED = 60.0  # seconds; a program that lived so long is forgiven its earlier deaths
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
    """What to run, and how it wants to be stopped."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    directory: Path = Path("/")  # where it runs; ours might be closed to its account
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0  # seconds between the stop signal and SIGKILL
    death_signal: signal.Signals = signal.SIGKILL  # when we are killed: there is nobody left to insist
    before: Callable[[], None] | None = None  # runs before every start


class Child:
    """One running program, the leader of its own session: a Ctrl-C in the terminal reaches only us."""

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
        """Ask, wait, insist; afterwards nothing of its process group is left."""
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
        """Its end, for people: how, and the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        how = _ending(self.exit_code())
        return Unavailable("\n  ".join([f"{self.program.name} {how}; the end of {self.log}:", *lines]))


def run(program: Program, logs: Path, pause: Pause = time.sleep) -> None:
    """Run to the end; Unavailable unless it exits with 0. What `pause` raises stops it."""
    child = Child(program, logs)
    try:
        while child.exit_code() is None:
            pause(0.02)
    finally:
        child.stop()
    if child.exit_code() != 0:
        raise child.failure()


class Tree:
    """Programs that run until they are stopped; one that dies is started again, later each time."""

    def __init__(self, logs: Path, say: Callable[[str], None] = print) -> None:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs = logs
        self._say = say
        self._children: dict[str, Child] = {}
        self._delays: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def start(self, program: Program) -> Child:
        """Run it from now on, whatever happens to it."""
        child = self._children[program.name] = Child(program, self.logs)
        return child

    def tend(self) -> float:
        """Start again what died and has waited long enough; the seconds until this is worth another look."""
        now = time.monotonic()
        for name, child in self._children.items():
            if child.exit_code() is not None and name not in self._due:
                self._schedule(name, child, now)
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self.start(self._children[name].program)
        return min((due - now for due in self._due.values()), default=SETTLED)

    def _schedule(self, name: str, child: Child, now: float) -> None:
        child.stop()  # what is left of its group
        lived = now - child.started
        delay = FIRST_DELAY if lived > SETTLED else self._delays.get(name, FIRST_DELAY)
        self._due[name] = now + delay
        self._delays[name] = min(2 * delay, LONGEST_DELAY)
        self._say(f"{name} {_ending(child.exit_code())}; starting it again in {delay:g} s (log: {child.log})")

    def stop(self) -> None:
        """Stop everything, the youngest first."""
        while self._children:
            _, child = self._children.popitem()
            child.stop()


def _open_log(path: Path) -> BinaryIO:
    """The end of a log that only we can read."""
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def _ending(code: int | None) -> str:
    if code is None:
        return "does not answer"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _die_with(parent: int, death_signal: signal.Signals) -> None:
    """In the new process: have the kernel stop us when our parent dies, however that happens (Linux only)."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
