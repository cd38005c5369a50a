"""What is asked for while a job's files are fetched, or its checkpoint is stored, however long that takes."""

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hone.documents.status import JobStatus
from hone.errors import LeaseLost
from service import commands
from service.domain.specs import JobSpec
from service.persistence import checkpoints, jobs
from service.persistence.tables import Job
from service.storage import locks
from service.storage.store import Storage
from worker.assignment import prepare
from worker.attempt import Claim
from worker.protocol import Saved
from worker.reporter import Reporter
from worker.scratch import Scratch

Make = Callable[..., JobSpec]


@contextmanager
def fetched_by_another(bench: Any, key: str) -> Iterator[None]:
    """Another worker of this machine fetches the same files, and does not get on with it."""
    place = bench.folder / "cache" / hashlib.sha256(key.encode()).hexdigest()[:32]
    with locks.hold(place.with_suffix(".fetch")):
        yield


@contextmanager
def stuck_disk(folder: Path) -> Iterator[None]:
    """A file that cannot be opened in the block, as on a network file system that hangs; afterwards it is gone."""
    pipe = folder / "rng_state.pt"
    os.mkfifo(pipe)
    try:
        yield
    finally:
        opened = os.open(pipe, os.O_RDWR)
        pipe.unlink()
        os.close(opened)


def status(bench: Any, claim: Claim) -> str:
    with bench.database.transaction() as session:
        return str(jobs.get(session, claim.job_id, None).status)


def until(bench: Any, claim: Claim, wanted: str) -> None:
    deadline = time.monotonic() + 60
    while (now := status(bench, claim)) != wanted:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


class InThread:
    """A call that is expected to lose its lease."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.outcome: object = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call()
        except LeaseLost as error:
            self.outcome = error

    def end(self) -> object:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome


def cancel(bench: Any, claim: Claim, stopping: threading.Event) -> None:
    with bench.database.transaction() as session:
        commands.cancel(session, claim.owner, claim.job_id)


def pause(bench: Any, claim: Claim, stopping: threading.Event) -> None:
    with bench.database.transaction() as session:
        commands.pause(session, claim.owner, claim.job_id)


def stop_the_worker(bench: Any, claim: Claim, stopping: threading.Event) -> None:
    stopping.set()


def wait(bench: Any, claim: Claim, stopping: threading.Event) -> None:
    """Its time is up by itself."""


@pytest.mark.parametrize(
    ("ask", "ending"),
    [(cancel, "cancelled"), (pause, "paused"), (stop_the_worker, "queued"), (wait, "failed")],
)
def test_a_job_whose_files_are_fetched_does_at_once_what_is_asked_of_it(
    bench: Any, spec: Make, s3: Any, ask: Callable[..., None], ending: str
) -> None:
    bench.storage = Storage(f"{s3.url}/{uuid.uuid4().hex}", bench.folder / "cache")
    claim = bench.claim(spec(max_seconds=2 if ask is wait else None))
    row, stopping = bench.stored(claim, 1), threading.Event()
    scratch = Scratch(bench.folder, claim.job_id, claim.attempt)
    attempt = bench.attempt(claim, scratch=scratch, stopping=stopping)
    reporter = Reporter(attempt)
    with fetched_by_another(bench, row.storage_key):
        preparing = InThread(lambda: prepare(attempt, [], reporter.end_unless_running))
        ask(bench, claim, stopping)
        until(bench, claim, ending)
    assert isinstance(preparing.end(), LeaseLost)
    assert status(bench, claim) == ending
    scratch.close()


def test_a_fetch_that_nobody_wants_ends_at_its_next_piece_and_leaves_nothing(bench: Any, claim: Claim, s3: Any) -> None:
    storage = Storage(f"{s3.url}/{uuid.uuid4().hex}", bench.folder / "cache")
    bench.storage = storage
    row = bench.stored(claim, 1)
    looks: list[int] = []

    def check() -> None:
        looks.append(1)
        if len(looks) > 1:
            raise LeaseLost("nobody wants it")

    with pytest.raises(LeaseLost):
        storage.pin(row.storage_key, check=check)
    assert not [path for path in (bench.folder / "cache").iterdir() if path.suffix not in (".pin", ".fetch")]
    assert storage.local(row.storage_key).is_dir()


def test_a_cancel_does_not_wait_for_a_checkpoint_that_is_being_stored(bench: Any, claim: Claim) -> None:
    folder = bench.written(1)
    reporter = Reporter(bench.attempt(claim))
    saved = Saved(step=1, directory=str(folder), metrics={})
    with stuck_disk(folder):
        storing = InThread(lambda: reporter.write([saved]))
        cancel(bench, claim, threading.Event())
        until(bench, claim, "cancelled")
    assert isinstance(storing.end(), LeaseLost)
    with bench.database.transaction() as session:
        assert checkpoints.of_job(session, claim.job_id) == []


def test_a_pause_waits_for_the_checkpoint_that_is_being_stored(bench: Any, claim: Claim) -> None:
    folder = bench.written(1)
    reporter = Reporter(bench.attempt(claim, lease_seconds=1.5))
    saved = Saved(step=1, directory=str(folder), metrics={})
    with stuck_disk(folder):
        storing = InThread(lambda: reporter.write([saved]))
        pause(bench, claim, threading.Event())
        before = lease_end(bench, claim)
        while lease_end(bench, claim) == before:  # a beat later
            time.sleep(0.05)
        assert status(bench, claim) == "pausing"
    assert storing.end() == JobStatus.PAUSING
    with bench.database.transaction() as session:
        assert [row.step for row in checkpoints.of_job(session, claim.job_id)] == [1]


def lease_end(bench: Any, claim: Claim) -> object:
    with bench.database.transaction() as session:
        return session.get(Job, claim.job_id).lease_expires_at
