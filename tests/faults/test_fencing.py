"""A worker that wakes up after its lease: nothing that it writes counts."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from rig import outcomes
from rig.parts import Part
from rig.service import Service
from rig.trial import Trial
from sqlalchemy import select

from service.persistence.tables import Job

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PROMISED_SECONDS = 45  # in which a job of a dead worker runs again, also with the leases of thirty seconds


@pytest.fixture(autouse=True)
def slowly(arm: Callable[[str], None]) -> None:
    """Jobs take seconds, so that none has ended before its worker is stopped."""
    arm("step.begun=delay:0.05*all")


def holder(service: Service, job_id: str) -> Part | None:
    """The worker that runs a job."""
    with service.database.transaction() as session:
        owner = session.scalar(select(Job.lease_owner).where(Job.id == job_id)) or ""
    return next((part for part in service.parts.values() if f"-{part.pid}-" in owner), None)


def step(service: Service, job_id: str) -> tuple[int, int]:
    """Attempt and step."""
    with service.database.transaction() as session:
        attempt, progress = session.execute(select(Job.attempt, Job.progress).where(Job.id == job_id)).one()
        return attempt, progress["step"]


def training(service: Service, trial: Trial) -> tuple[str, Part]:
    """A job that has done some steps, and the worker that runs it."""
    job_id = trial.submit("sft")
    service.until(lambda: step(service, job_id)[1] > 5, 60, "it trains")
    worker = holder(service, job_id)
    assert worker is not None
    return job_id, worker


def test_a_supervisor_that_sleeps_through_its_lease_cannot_write_a_byte_that_counts(
    service: Service, trial: Trial
) -> None:
    job_id, sleeper = training(service, trial)
    sleeper.send(signal.SIGSTOP)
    service.broke(f"SIGSTOP {sleeper.name}")
    try:
        service.until(lambda: step(service, job_id)[0] == 2, PROMISED_SECONDS, "another worker has it")
        before = outcomes.read(service.database, job_id)
        assert all(event.attempt <= 1 for event in before.events[: before.events.index(_claim(before, 2))])
    finally:
        sleeper.send(signal.SIGCONT)  # with reports and checkpoints of attempt 1 in its pipes
    trial.wait(300)
    after = outcomes.read(service.database, job_id)
    later = after.events[after.events.index(_claim(after, 2)) :]
    assert {event.attempt for event in later} == {2}, "the sleeper told of something"
    assert all(key.endswith("attempt-2") or step <= 5 for step, key in after.checkpoints.items())
    wrong = trial.wrong() + trial.processes_left()
    assert not wrong, trial.verdict("fencing", wrong)


def _claim(outcome: outcomes.Outcome, attempt: int) -> outcomes.Told:
    return next(event for event in outcome.kind("status") if event.data.get("attempt") == attempt)


def test_a_worker_behind_a_dead_network_is_given_up_and_writes_nothing_when_it_is_back(
    service: Service, trial: Trial
) -> None:
    job_id, worker = training(service, trial)
    service.proxies[worker.name].become("hanging")
    service.broke(f"network of {worker.name} hangs")
    service.heal_in(12, lambda: service.proxies[worker.name].become("open"))
    service.until(lambda: step(service, job_id)[0] == 2, PROMISED_SECONDS, "another worker has it")
    trial.wait(300)
    wrong = trial.wrong() + trial.processes_left()
    assert not wrong, trial.verdict("network", wrong)


def test_a_worker_that_freezes_while_it_holds_the_row_loses_the_job_all_the_same(
    service: Service, trial: Trial
) -> None:
    job_id, worker = training(service, trial)
    _freeze_in_transaction(service, worker)
    try:
        service.until(lambda: step(service, job_id)[0] == 2, PROMISED_SECONDS, "another worker has it")
    finally:
        worker.send(signal.SIGCONT)
    trial.wait(300)
    wrong = trial.wrong() + trial.processes_left()
    assert not wrong, trial.verdict("frozen", wrong)


def _freeze_in_transaction(service: Service, worker: Part) -> None:
    """Stop it at an instant at which PostgreSQL waits for it in the middle of a transaction that locks a row."""
    query = (
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
        "WHERE a.state = 'idle in transaction' AND l.mode = 'RowShareLock'"
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(0.02)
        with service.database.transaction() as session:
            if session.connection().exec_driver_sql(query).scalar():
                return service.broke(f"SIGSTOP {worker.name} inside of a transaction")
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(0.013)
    raise AssertionError("it was never inside of a transaction")
