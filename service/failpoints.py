"""Failpoints: named places, between a request and the end of its job, where tests break a process. Else no-ops.

    HONE_FAILPOINTS="claim.committed=kill;report.written=error*2@3;checkpoint.moving=error:full"

`name=action[:argument][*count][@skip]`, separated by `;`. The actions:

    kill       SIGKILL to this process
    stall      SIGSTOP to this process; somebody else has to continue it
    error      raise what the place can meet, or `error:KIND` (KINDS)
    timeout    the same with another text: for places after an effect that happened but is reported as failed
    delay      sleep, `delay:SECONDS`

A failpoint acts `count` times (by default once; `*all`: always), after `skip` visits without effect. The visits are
counted in files below HONE_DATA_DIR, for all processes together, so a process that is started again does not die again
for ever. The variable is read once, when this module is imported; it is not a setting for operators.
"""

import errno
import fcntl
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hone.errors import Unavailable

VARIABLE = "HONE_FAILPOINTS"
FIRED = "fired.log"
POINTS: dict[str, str] = {
    "request.read": "a spec was read and checked; nothing is written",
    "submit.written": "the rows of a new job are written, not committed",
    "request.committing": "an endpoint is done; its transaction is about to be committed",
    "request.committed": "a request's transaction is committed; no response was sent",
    "commit.unpublished": "a transaction is committed; no wake-up was sent",
    "outbox.taken": "a message was read, not sent",
    "outbox.sent": "the broker has a message; its row is still there",
    "outbox.deleted": "the row of a sent message is deleted, not committed",
    "outbox.committed": "sent messages are forgotten",
    "lost.found": "a lease has run out; its job is about to go back to the queue",
    "lost.committed": "jobs without a lease are back in the queue",
    "doorbell.received": "a worker has received a doorbell",
    "claim.written": "a job is claimed, not committed",
    "claim.committed": "this worker holds a job; nothing was started",
    "assignment.prepared": "all that the trainer needs is on this machine",
    "trainer.spawned": "a trainer runs, without its assignment",
    "trainer.assigned": "the trainer has its assignment",
    "report.received": "the trainer has sent events; none is written",
    "lease.renewed": "the job is locked and its lease renewed, not committed",
    "started.written": "the start of the training is written, not committed",
    "report.written": "the trainer's events are written, not committed",
    "report.committed": "the trainer's events are durable",
    "checkpoint.moving": "a checkpoint is complete in the scratch folder",
    "checkpoint.moved": "a checkpoint is in the storage, without a row",
    "checkpoint.recorded": "the row of a checkpoint is written, not committed",
    "checkpoint.forgotten": "the files of superseded checkpoints are deleted",
    "stop.passed": "the trainer was asked to stop",
    "end.written": "the outcome of a job is written, not committed",
    "end.committed": "the outcome of a job is durable; its trainer still runs",
    "release.written": "a job was handed back, not committed",
    "trainer.read": "the trainer has read its assignment",
    "step.begun": "a step of training begins",
    "step.reported": "a step of training is done and reported",
    "checkpoint.written": "a checkpoint is in a partial folder, not renamed",
    "checkpoint.renamed": "a checkpoint is in the scratch folder, not reported",
}
"""Every failpoint: what is true when a process reaches it."""

STORAGE = (
    "assignment.prepared",
    "checkpoint.moving",
    "checkpoint.moved",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.forgotten",
)
"""Where the disk fails; at all others the database does."""

KINDS: dict[str, Callable[[str], Exception]] = {
    "unavailable": lambda point: Unavailable(f"the database cannot do this now (failpoint {point})"),
    "timeout": lambda point: Unavailable(f"the database did not say whether it did this (failpoint {point})"),
    "full": lambda point: OSError(errno.ENOSPC, f"No space left on device (failpoint {point})"),
    "slow": lambda point: OSError(errno.ETIMEDOUT, f"Connection timed out (failpoint {point})"),
    "broken": lambda point: OSError(errno.EIO, f"Input/output error (failpoint {point})"),
    "bug": lambda point: RuntimeError(f"failpoint {point}"),
}
_FAULT = re.compile(
    r"(?P<name>[\w.]+)=(?P<action>\w+)(?::(?P<argument>[\w.]+))?(?:\*(?P<count>\w+))?(?:@(?P<skip>\d+))?"
)


def failpoint(name: str) -> None:
    """Do nothing, unless HONE_FAILPOINTS names this failpoint."""
    if _faults:
        _reach(name)


@dataclass(frozen=True)
class Fault:
    """What happens at one failpoint."""

    name: str
    action: str
    act: Callable[[], None]
    count: float
    skip: int


def parse(text: str) -> dict[str, Fault]:
    """The faults of HONE_FAILPOINTS, or ValueError that names what is known."""
    faults = [_fault(part.strip()) for part in text.split(";") if part.strip()]
    return {fault.name: fault for fault in faults}


def _fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not name=action[:argument][*count][@skip]")
    name, count = match["name"], match["count"] or "1"
    if name not in POINTS:
        raise ValueError(f"no failpoint '{name}'; there are {', '.join(POINTS)}")
    limit = float("inf") if count == "all" else float(count)
    return Fault(
        name, match["action"], _action(name, match["action"], match["argument"]), limit, int(match["skip"] or 0)
    )


def _action(name: str, action: str, argument: str | None) -> Callable[[], None]:
    match action:
        case "kill":
            return lambda: os.kill(os.getpid(), signal.SIGKILL)
        case "stall":
            return lambda: os.kill(os.getpid(), signal.SIGSTOP)
        case "delay":
            return lambda: time.sleep(float(argument or 1))
        case "error":
            return _raiser(name, argument or ("full" if name in STORAGE else "unavailable"))
        case "timeout":
            return _raiser(name, "slow" if name in STORAGE else "timeout")
    raise ValueError(f"no action '{action}'; there are kill, stall, error, timeout and delay")


def _raiser(name: str, kind: str) -> Callable[[], None]:
    if kind not in KINDS:
        raise ValueError(f"no error '{kind}'; there are {', '.join(KINDS)}")

    def act() -> None:
        raise KINDS[kind](name)

    return act


def _reach(name: str) -> None:
    fault = _faults.get(name)
    if fault is not None and fault.skip <= _visits(_folder(), name) < fault.skip + fault.count:
        _record(fault)
        fault.act()


def _visits(folder: Path, name: str) -> int:
    """Earlier visits of all processes: one byte in a file for each, written under a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.seek(0, os.SEEK_END)
        file.write(b".")
        file.flush()
        return before


def _record(fault: Fault) -> None:
    """Record what acted, where, and in which process, for the test that asked for it."""
    with (_folder() / FIRED).open("a") as file:
        file.write(f"{time.time():.3f} {fault.name} {fault.action} {os.getpid()}\n")


def _folder() -> Path:
    return Path(os.environ.get("HONE_DATA_DIR", tempfile.gettempdir())) / "failpoints"


_faults = parse(os.environ.get(VARIABLE, ""))
