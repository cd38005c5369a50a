"""A checkpoint gets into the storage whole or not at all, also when that needs more than one try."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hone.documents.status import JobStatus
from hone.errors import LeaseLost, Unavailable
from service import commands
from service.domain.specs import JobSpec
from service.persistence import checkpoints, jobs, leases
from service.persistence.tables import Job
from service.storage import manifest
from service.storage.store import Storage
from worker.attempt import Claim
from worker.protocol import Saved
from worker.reporter import Reporter
from worker.trainer_process import TrainerOutput


def saved(folder: Path, step: int) -> Saved:
    return Saved(step=step, directory=str(folder), metrics={})


def reporter(bench: Any, claim: Claim, storage: Storage, stopping: threading.Event | None = None) -> Reporter:
    return Reporter(bench.attempt(claim, storage=storage, stopping=stopping or threading.Event()))


def steps(bench: Any, job_id: str) -> list[int]:
    with bench.database.transaction() as session:
        return [row.step for row in checkpoints.of_job(session, job_id)]


def test_a_new_row_replaces_old_ones_whose_files_wait_for_the_garbage_collector(bench: Any, claim: Claim) -> None:
    writer = reporter(bench, claim, bench.storage)
    for step in (1, 2, 3):
        writer.write([saved(bench.written(step), step)])
    assert steps(bench, claim.job_id) == [3, 2]
    assert bench.storage.exists(f"checkpoints/{claim.job_id}/step-1-attempt-1")


def test_a_full_disk_is_reported_and_retried(bench: Any, claim: Claim, full_disk: Path, tmp_path: Path) -> None:
    storage = Storage(str(full_disk), tmp_path / "cache", retry_seconds=0)  # which is for fetching
    folder = bench.written(1)
    thread = threading.Thread(target=reporter(bench, claim, storage).write, args=([saved(folder, 1)],))
    thread.start()
    while not bench.warnings(claim.job_id):
        time.sleep(0.05)
    manifest.verify(folder)
    assert storage.below("checkpoints/" + claim.job_id) == [] and steps(bench, claim.job_id) == []
    (full_disk / "ballast").unlink()
    thread.join(60)
    first, last = bench.warnings(claim.job_id)
    assert "cannot be stored: [Errno 28] No space left on device" in first and "stored now" in last
    assert steps(bench, claim.job_id) == [1] and storage.below("partial") == []
    manifest.verify(storage.local(f"checkpoints/{claim.job_id}/step-1-attempt-1"))


def test_a_job_that_is_cancelled_while_the_storage_fails_does_not_wait_for_it(
    bench: Any, claim: Claim, full_disk: Path, tmp_path: Path
) -> None:
    storage = Storage(str(full_disk), tmp_path / "cache", retry_seconds=60)
    statuses: list[JobStatus] = []
    writer = reporter(bench, claim, storage)
    thread = threading.Thread(target=lambda: statuses.append(writer.write([saved(bench.written(1), 1)])))
    thread.start()
    while not bench.warnings(claim.job_id):
        time.sleep(0.05)
    with bench.database.transaction() as session:
        commands.cancel(session, "ada", claim.job_id)
    thread.join(60)
    assert statuses == [JobStatus.CANCELLING] and steps(bench, claim.job_id) == []


def test_a_worker_that_stops_does_not_wait_for_the_storage(
    bench: Any, claim: Claim, full_disk: Path, tmp_path: Path
) -> None:
    storage = Storage(str(full_disk), tmp_path / "cache", retry_seconds=100_000)
    stopping = threading.Event()
    stopping.set()
    status = reporter(bench, claim, storage, stopping).write([saved(bench.written(1), 1)])
    assert status == JobStatus.QUEUED and bench.warnings(claim.job_id) == []
    with bench.database.transaction() as session:
        job = jobs.get(session, claim.job_id, None)
        assert (job.restarts, job.max_restarts, job.failure) == (0, 0, None)


def test_a_job_whose_time_is_up_does_not_wait_for_the_storage(
    bench: Any, spec: Callable[..., JobSpec], full_disk: Path, tmp_path: Path
) -> None:
    claim = bench.claim(spec(max_seconds=60))
    storage, late = Storage(str(full_disk), tmp_path / "cache"), replace(claim, ran_seconds=61.0)
    assert reporter(bench, late, storage).write([saved(bench.written(1), 1)]) == JobStatus.FAILED
    with bench.database.transaction() as session:
        failure: Any = jobs.get(session, claim.job_id, None).failure
    assert failure["category"] == "timeout"


def test_an_attempt_that_lost_its_lease_stores_nothing(bench: Any, claim: Claim) -> None:
    with bench.database.transaction() as session:
        session.execute(update(Job).values(attempt=2))
    with pytest.raises(LeaseLost):
        reporter(bench, claim, bench.storage).write([saved(bench.written(1), 1)])
    assert bench.storage.below("checkpoints") == []


def test_a_row_that_could_not_be_written_is_written_by_the_next_try(
    bench: Any, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = reporter(bench, claim, bench.storage)
    report: list[TrainerOutput] = [saved(bench.written(1), 1)]
    record = checkpoints.put

    def away(*_: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(checkpoints, "put", away)
    with pytest.raises(Unavailable):
        writer.write(report)
    monkeypatch.setattr(checkpoints, "put", record)
    writer.write(report)
    assert steps(bench, claim.job_id) == [1]


def test_a_slow_storage_does_not_cost_the_lease(bench: Any, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    put = bench.storage.put

    def slow(*arguments: Any) -> None:
        time.sleep(4.0)
        put(*arguments)

    monkeypatch.setattr(bench.storage, "put", slow)
    writer = Reporter(bench.attempt(claim, lease_seconds=3.0))
    lost: list[Job] = []
    over = threading.Event()

    def look_for_lost_jobs() -> None:
        while not over.wait(0.1):
            with bench.database.transaction() as session:
                lost.extend(leases.expired(session))

    thread = threading.Thread(target=look_for_lost_jobs)
    thread.start()
    writer.write([saved(bench.written(1), 1)])
    over.set()
    thread.join()
    assert lost == [] and steps(bench, claim.job_id) == [1]


def test_scratch_that_is_gone_is_an_error_of_the_job_not_a_torn_checkpoint(bench: Any, claim: Claim) -> None:
    folder = bench.written(1)
    shutil.rmtree(folder)
    assert reporter(bench, claim, bench.storage).write([saved(folder, 1)]) == JobStatus.FAILED
    assert bench.storage.below("checkpoints") == []
