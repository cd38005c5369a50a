"""Failpoints: named places, between a request and the end of its job, where tests break a process. Else no-ops.

    HONE_FAILPOINTS="claim.committed=kill;report.written=error*2@3;checkpoint.moving=error:full"

`name=action[:argument][*count][@skip]`, separated by `;`. The actions:

    kill       SIGKILL to this process
    stall      SIGSTOP to this process; somebody else has to continue it
    error      raise what the place can meet, or `error:KIND` (KINDS)
    timeout    the same, saying so: for places after an effect, which happened though it is said to have failed
    delay      sleep, `delay:SECONDS`

A failpoint acts `count` times (once, unless it says so; `*all`: always), after `skip` visits without effect. The visits
are counted in files below HONE_DATA_DIR, for all processes together: one that is started again does not die again for
ever. The variable is read once, when this module is imported: it is no setting of operators.
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

from service.domain.errors import Unavailable

VARIABLE = "HONE_FAILPOINTS"
FIRED = "fired.log"
POINTS: dict[str, str] = {
    "request.read": "a spec was read and checked; nothing is written",
    "submit.written": "the rows of a new job are written, not committed",
    "request.committing": "an endpoint is done; its transaction is about to be committed",
    "request.committed": "a request's transaction has happened; nobody was answered",
    "commit.unrung": "a transaction has happened; nobody was woken",
    "outbox.taken": "a message is locked, not sent",
    "outbox.sent": "the broker has a message; its row is still there",
    "outbox.deleted": "the row of a sent message is deleted, not committed",
    "outbox.committed": "sent messages are forgotten",
    "lost.found": "a lease has run out; its job is about to go back to the queue",
    "lost.committed": "jobs without a lease are back in the queue",
    "bell.heard": "a worker was rung",
    "claim.written": "a job is claimed, not committed",
    "claim.committed": "a job is this worker's; nothing was started",
    "assignment.prepared": "all that the trainer needs is on this machine",
    "trainer.spawned": "a trainer runs, without its assignment",
    "trainer.assigned": "the trainer has its assignment",
    "report.heard": "the trainer said something; nothing of it is written",
    "lease.renewed": "the job is locked and its lease renewed, not committed",
    "started.written": "that the trainer has started is written, not committed",
    "report.written": "what the trainer said is written, not committed",
    "report.committed": "what the trainer said is durable",
    "checkpoint.moving": "a checkpoint is whole in the scratch folder",
    "checkpoint.moved": "a checkpoint is in the storage, without a row",
    "checkpoint.recorded": "the row of a checkpoint is written, not committed",
    "checkpoint.forgotten": "the files of superseded checkpoints are deleted",
    "stop.passed": "the trainer was told to stop",
    "end.written": "how a job ended is written, not committed",
    "end.committed": "how a job ended is durable; its trainer still runs",
    "release.written": "a job was handed back, not committed",
    "trainer.read": "the trainer has read its assignment",
    "step.begun": "a step of training begins",
    "step.told": "a step of training was done and told",
    "checkpoint.written": "a checkpoint is in a partial folder, not renamed",
    "checkpoint.renamed": "a checkpoint is in the scratch folder; nobody was told",
}
"""Every failpoint: what is true when a process is there."""

STORAGE = (
    "assignment.prepared",
    "checkpoint.moving",
    "checkpoint.moved",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.forgotten",
)
"""Where a disk fails; everywhere else it is the database."""

KINDS: dict[str, Callable[[str], Exception]] = {
    "unavailable": lambda point: Unavailable(f"the database cannot do this now (failpoint {point})"),
    "timeout": lambda point: Unavailable(f"the database did not say whether it did this (failpoint {point})"),
    "full": lambda point: OSError(errno.ENOSPC, f"No space left on device (failpoint {point})"),
    "slow": lambda point: OSError(errno.ETIMEDOUT, f"Connection timed out (failpoint {point})"),
    "broken": lambda point: OSError(errno.EIO, f"Input/output error (failpoint {point})"),
    "bug": lambda point: RuntimeError(f"failpoint {point}"),
}
_RULE = re.compile(
    r"(?P<name>[\w.]+)=(?P<action>\w+)(?::(?P<argument>[\w.]+))?(?:\*(?P<count>\w+))?(?:@(?P<skip>\d+))?"
)


def failpoint(name: str) -> None:
    """Nothing, unless HONE_FAILPOINTS names this place."""
    if _rules:
        _reach(name)


@dataclass(frozen=True)
class Rule:
    """What happens at one failpoint."""

    name: str
    action: str
    act: Callable[[], None]
    count: float
    skip: int


def parse(text: str) -> dict[str, Rule]:
    """The rules of HONE_FAILPOINTS, or ValueError that names what is known."""
    rules = [_rule(part.strip()) for part in text.split(";") if part.strip()]
    return {rule.name: rule for rule in rules}


def _rule(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not name=action[:argument][*count][@skip]")
    name, count = match["name"], match["count"] or "1"
    if name not in POINTS:
        raise ValueError(f"no failpoint '{name}'; there are {', '.join(POINTS)}")
    limit = float("inf") if count == "all" else float(count)
    return Rule(
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
    rule = _rules.get(name)
    if rule is not None and rule.skip <= _visits(_folder(), name) < rule.skip + rule.count:
        _note(rule)
        rule.act()


def _visits(folder: Path, name: str) -> int:
    """How often any process was here before: a byte for each visit, and a lock against two at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.seek(0, os.SEEK_END)
        file.write(b".")
        file.flush()
        return before


def _note(rule: Rule) -> None:
    """For whoever broke us: what, where and who."""
    with (_folder() / FIRED).open("a") as file:
        file.write(f"{time.time():.3f} {rule.name} {rule.action} {os.getpid()}\n")


def _folder() -> Path:
    return Path(os.environ.get("HONE_DATA_DIR", tempfile.gettempdir())) / "failpoints"


_rules = parse(os.environ.get(VARIABLE, ""))
