"""A real trainer under a real supervisor, its rows in a real PostgreSQL."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hone.documents.status import JobStatus
from service import commands
from service.commands import Requester
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, jobs, metrics
from service.persistence.database import Database
from service.persistence.tables import Job
from service.storage.store import Storage
from worker.assignment import prepare
from worker.attempt import Attempt, Claim
from worker.fork_server import ForkServer
from worker.reporter import Reporter
from worker.scratch import Scratch
from worker.supervisor import Timeouts, supervise
from worker.trainer_process import TrainerProcess

Make = Callable[..., JobSpec]
LONG = 100_000
LENIENT = Timeouts(grace=20, heartbeat=60)


@dataclass
class Run:
    """An attempt in a thread of its own, as in WorkerRuntime."""

    database: Database
    job_id: str
    trainer: TrainerProcess
    stopping: threading.Event
    thread: threading.Thread
    asked: threading.Event

    def job(self) -> Job:
        with self.database.transaction() as session:
            return jobs.get(session, self.job_id, None)

    def until(self, over: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            job = self.job()
            if over(job):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job.status} {job.progress} {job.failure}")

    def ask(self, command: Callable[..., Job]) -> None:
        with self.database.transaction() as session:
            command(session, "ada", self.job_id)

    def told(self) -> None:
        """Wait until the supervisor has passed on what was asked."""
        assert self.asked.wait(60)

    def end(self) -> Job:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.job()


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def start(
    database: Database, spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer
) -> Iterator[Callable[..., Run]]:
    storage = Storage(str(tmp_path / "storage"), tmp_path / "cache")
    trainers: list[TrainerProcess] = []

    def submitted(**changes: Any) -> str:
        with database.transaction() as session:
            return commands.submit(session, Requester("ada"), spec(**changes), []).id

    def make(*, again: str | None = None, timeouts: Timeouts = LENIENT, **changes: Any) -> Run:
        job_id = again or submitted(**changes)
        with database.transaction() as session:
            taken = claims.claim(session, "worker-1", 0, lease_seconds=30)
            assert taken is not None and taken.job.id == job_id
            job = taken.job
        claim = Claim(job.id, job.attempt, taken.spec, job.owner, [], job.ran_seconds)
        scratch, stopping = Scratch(tmp_path, job.id, job.attempt), threading.Event()
        attempt = Attempt(claim, database, storage, scratch, 30, stopping)
        reporter, assignment = Reporter(attempt), prepare(attempt, [])
        assert assignment is not None
        # The server was started without failpoints. So the trainers of some tests are executed, to the same effect.
        trainer = TrainerProcess(None if "HONE_FAILPOINTS" in os.environ else fork_server)
        asked = threading.Event()
        monkeypatch.setattr(trainer, "request_stop", after(trainer.request_stop, asked.set))
        trainers.append(trainer)
        arguments = (trainer, assignment, reporter, timeouts, lambda: None)
        thread = threading.Thread(target=supervise, args=arguments)
        thread.start()
        return Run(database, job_id, trainer, stopping, thread, asked)

    yield make
    for trainer in trainers:
        trainer.kill()


def after(call: Callable[..., None], then: Callable[[], None]) -> Callable[..., None]:
    def both(*arguments: Any) -> None:
        call(*arguments)
        then()

    return both


def held_at(
    step: int, start: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> Run:
    """A job whose trainer stops itself before its next step: no machine is so slow that it would end unheard."""
    with monkeypatch.context() as patch:
        patch.setenv("HONE_DATA_DIR", str(tmp_path / "points"))
        patch.setenv("HONE_FAILPOINTS", f"step.begun=stall@{step}")
        run = start(**changes)
    run.until(lambda job: int(job.progress["step"]) >= step)
    return run


def begun(job: Job) -> bool:
    return int(job.progress["step"]) >= 2


def series(run: Run) -> list[float]:
    with run.database.transaction() as session:
        (series,), _ = metrics.series(session, run.job_id, metrics.Selection(["train/loss"]), limit=LONG)
        return [float(value) for value in json.loads(series.values)]


def weights(run: Run, tmp_path: Path) -> bytes:
    with run.database.transaction() as session:
        newest = checkpoints.choose(session, run.job_id, "latest")
        assert newest is not None
    return (tmp_path / "storage" / newest.storage_key / "model.safetensors").read_bytes()


def test_a_pause_saves_and_what_goes_on_ends_as_if_it_had_never_stopped(
    start: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = held_at(2, start, tmp_path, monkeypatch, steps=40)
    paused.ask(commands.pause)
    paused.told()
    os.kill(paused.trainer.pid, signal.SIGCONT)
    job = paused.end()
    assert job.status == JobStatus.PAUSED and job.lease_owner is None and 2 <= job.progress["step"] < 40
    assert not paused.trainer.alive or paused.trainer.exit_reason()
    paused.ask(commands.resume)
    resumed = start(again=paused.job_id)
    assert resumed.end().status == JobStatus.SUCCEEDED
    whole = start(steps=40)
    assert whole.end().status == JobStatus.SUCCEEDED
    assert series(resumed) == series(whole) and len(series(whole)) == 40
    assert weights(resumed, tmp_path) == weights(whole, tmp_path)


def test_a_worker_that_stops_saves_its_job_and_hands_it_back(start: Callable[..., Run]) -> None:
    run = start(steps=LONG)
    run.until(begun)
    run.stopping.set()
    job = run.end()
    assert (job.status, job.restarts, job.not_before) == (JobStatus.QUEUED, 0, None)
    with run.database.transaction() as session:
        newest = checkpoints.choose(session, run.job_id, "latest")
        assert newest is not None and newest.step == job.progress["step"]


def test_a_trainer_that_does_not_save_in_time_is_killed_and_the_job_handed_back(start: Callable[..., Run]) -> None:
    run = start(steps=LONG, timeouts=Timeouts(grace=0.5, heartbeat=60))
    run.until(begun)
    os.kill(run.trainer.pid, signal.SIGSTOP)
    run.stopping.set()
    job = run.end()
    assert (job.status, job.restarts) == (JobStatus.QUEUED, 0) and not run.trainer.alive


def test_a_job_whose_time_is_up_saves_and_fails(start: Callable[..., Run]) -> None:
    run = start(steps=LONG, max_seconds=1)
    job = run.end()
    assert job.status == JobStatus.FAILED and job.failure is not None
    assert job.failure["category"] == "timeout" and "exceeded max_seconds (1 s)" in job.failure["message"]


def test_a_frozen_trainer_is_killed_and_its_job_runs_again(start: Callable[..., Run]) -> None:
    run = start(steps=LONG, timeouts=Timeouts(grace=20, heartbeat=6))
    run.until(begun)
    os.kill(run.trainer.pid, signal.SIGSTOP)
    job = run.end()
    assert (job.status, job.restarts) == (JobStatus.QUEUED, 1) and not run.trainer.alive


@pytest.mark.parametrize("forked", [True, False])
def test_a_trainer_that_dies_while_it_is_told_something_is_tidied_up_all_the_same(
    forked: bool, fork_server: ForkServer
) -> None:
    with TrainerProcess(fork_server if forked else None) as trainer:
        os.kill(trainer.pid, signal.SIGKILL)
        while trainer.alive:
            time.sleep(0.01)
        trainer.request_stop("pause")
    assert trainer.exit_reason() == "the trainer was killed by SIGKILL"


def test_a_cancel_wins_over_a_pause(start: Callable[..., Run]) -> None:
    run = start(steps=LONG)
    run.until(begun)
    run.ask(commands.pause)
    run.ask(commands.cancel)
    assert run.end().status == JobStatus.CANCELLED
