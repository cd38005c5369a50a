"""Each failpoint once, with each thing that can happen there; every job ends as its undisturbed twin did."""

from collections.abc import Callable

import pytest
from rig.service import Service
from rig.trial import Trial

from service.failpoints import POINTS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
Arm = Callable[[str], None]
ASKED = {"stop.passed", "release.written"}
"""Reached only when somebody asks for it."""
LOST = {"lost.found", "lost.committed"}
"""Reached only when something else has killed a worker."""
REPEATED = {"report.heard": 3, "report.written": 6, "report.committed": 9, "lease.renewed": 12, "step.begun": 17}
REPEATED |= {
    "step.told": 23,
    "checkpoint.moving": 2,
    "checkpoint.moved": 4,
    "checkpoint.recorded": 5,
    "claim.written": 1,
}
"""Visits to let pass: otherwise all jobs would be broken at their start."""
TRAINER = {"trainer.read", "step.begun", "step.told", "checkpoint.written", "checkpoint.renamed"}
"""Where an exception ends the job, as any error in training does."""
AFTER = {name for name in POINTS if name.rpartition(".")[2] in ("committed", "unrung", "moved", "sent")}
"""After an effect: it happened, and is said to have failed."""
LOCKED = {name for name in POINTS if name.rpartition(".")[2] in ("written", "recorded", "renewed", "deleted", "taken")}
"""Inside of a transaction."""


def plan(names: set[str], action: str, count: int = 1) -> str:
    return ";".join(f"{name}={action}*{count}@{REPEATED.get(name, 0)}" for name in sorted(names))


def check(trial: Trial, action: str) -> None:
    wrong = trial.wrong() + trial.processes_left()
    assert not wrong, trial.verdict(f"every failpoint, {action}", wrong)


def fired(service: Service, names: set[str]) -> set[str]:
    return {name for name in names if any(f"failpoint {name} " in line for line in service.schedule)}


def test_a_process_killed_at_any_failpoint_costs_no_job_and_no_value(service: Service, trial: Trial, arm: Arm) -> None:
    names = set(POINTS) - ASKED
    arm(plan(names, "kill"))
    for name in ("sft", "grpo", "ppo") * 2:
        trial.submit(name)
    trial.wait(300)
    assert not names - fired(service, names)
    check(trial, "kill")


def test_an_error_at_any_failpoint_costs_no_job_and_no_value(service: Service, trial: Trial, arm: Arm) -> None:
    names = set(POINTS) - ASKED - LOST - AFTER - TRAINER
    arm(plan(names, "error"))
    for name in ("sft", "grpo", "ppo"):
        trial.submit(name)
    trial.wait(120)
    assert not names - fired(service, names)
    check(trial, "error")


def test_what_was_done_but_is_said_to_have_failed_is_not_done_twice(service: Service, trial: Trial, arm: Arm) -> None:
    names = AFTER - ASKED - LOST - TRAINER
    arm(plan(names, "timeout"))
    for name in ("sft", "grpo", "ppo"):
        trial.submit(name)
    trial.wait(120)
    assert not names - fired(service, names)
    check(trial, "timeout")


def test_a_process_stalled_for_longer_than_its_lease_costs_no_job_and_no_value(
    service: Service, trial: Trial, arm: Arm
) -> None:
    names = {"claim.committed", "report.heard", "report.committed", "checkpoint.moving", "checkpoint.moved"}
    names |= {"outbox.sent", "trainer.spawned", "step.begun"}
    arm(plan(names, "stall"))
    for name in ("sft", "grpo", "ppo"):
        trial.submit(name)
    trial.wait(150)
    assert not names - fired(service, names)
    check(trial, "stall")


def test_no_file_is_left_that_no_row_names(trial: Trial) -> None:
    """After all of the above."""
    assert not trial.files_left(20)
