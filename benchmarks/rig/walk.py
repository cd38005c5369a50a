"""Each failpoint once, with each thing that can happen there: what is broken, and by how much work it is visited."""

from dataclasses import dataclass

from rig.parts import Part
from rig.service import Service
from rig.trial import Trial
from service.failpoints import POINTS

ASKED = {"stop.passed", "release.written"}
"""Reached only when somebody asks for it."""
LOST = {"lost.found", "lost.committed"}
"""Reached only when something else has killed a worker."""
TRAINER = {"trainer.read", "step.begun", "step.reported", "checkpoint.written", "checkpoint.renamed"}
"""Where an exception ends the job, as any error in training does."""
AFTER = {name for name in POINTS if name.rpartition(".")[2] in ("committed", "unpublished", "moved", "sent")}
"""After an effect: it happened, and is said to have failed."""
REPEATED = {
    "report.received": 3,
    "report.written": 6,
    "report.committed": 9,
    "lease.renewed": 12,
    "step.begun": 17,
    "step.reported": 23,
    "checkpoint.moving": 2,
    "checkpoint.moved": 4,
    "checkpoint.recorded": 5,
    "claim.written": 1,
}
"""Visits to let pass: otherwise all jobs would be broken at their start."""
STALLED = {"claim.committed", "report.received", "report.committed", "checkpoint.moving", "checkpoint.moved"}
STALLED |= {"outbox.sent", "trainer.spawned", "step.begun"}
KINDS = ("sft", "grpo", "ppo")
WAYS: dict[str, set[str]] = {
    "kill": set(POINTS) - ASKED,
    "error": set(POINTS) - ASKED - LOST - AFTER - TRAINER,
    "timeout": AFTER - ASKED - LOST - TRAINER,
    "stall": STALLED,
}
"""What can happen, and where."""
PARTS = 6
"""Into so many parts a walk is cut where there is no time for all of it."""


@dataclass(frozen=True)
class Walk:
    """Some failpoints that all act in the same way while jobs of all kinds run."""

    action: str
    names: frozenset[str]

    @property
    def plan(self) -> str:
        """For HONE_FAILPOINTS."""
        return ";".join(f"{name}={self.action}*1@{REPEATED.get(name, 0)}" for name in sorted(self.names))

    def run(self, trial: Trial, seconds: float, rounds: int = 1) -> list[str]:
        """What is wrong after jobs went by; the service is armed with `plan`."""
        for name in KINDS * rounds:
            trial.submit(name)
        trial.wait(seconds)
        silent = [f"the failpoint {name} did not act" for name in sorted(self.names - fired(trial.service))]
        return silent + trial.wrong() + trial.processes_left()


def whole(action: str) -> Walk:
    """By all failpoints at which that can happen."""
    return Walk(action, frozenset(WAYS[action]))


def part(action: str, seed: int) -> Walk:
    """By each sixth one on a job's way, so that each part has some of every process; six seeds go by all."""
    on_the_way = [name for name in POINTS if name in WAYS[action]]
    return Walk(action, frozenset(on_the_way[seed % PARTS :: PARTS]))


def arm(service: Service, failpoints: str) -> None:
    """The API, the dispatcher and the workers have these from now on. Who has them already need not start again."""
    for path in (service.data / "failpoints").glob("[!f]*"):
        path.unlink()
    service.schedule.clear()
    for one in ours(service):
        if one.failpoints != failpoints or not one.alive:
            one.restart(failpoints)


def ours(service: Service) -> list[Part]:
    """The parts that are Hone's."""
    return [one for name, one in service.parts.items() if name not in ("postgres", "redis")]


def fired(service: Service) -> set[str]:
    """The failpoints that have acted since the schedule was last cleared."""
    words = [line.split() for line in service.schedule]
    return {line[line.index("failpoint") + 1] for line in words if "failpoint" in line}
