"""Which checkpoints stay, which go, and that none goes that somebody needs, on a real PostgreSQL."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from hone.documents.status import Failure
from hone.errors import Conflict
from service import commands
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, garbage, jobs, leases, metrics
from service.persistence.database import Database, Session
from service.persistence.tables import Checkpoint, Garbage, Job, Metric

Make = Callable[..., JobSpec]


def submit(database: Database, spec: JobSpec) -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester("ada"), spec, []).id


def claim(database: Database) -> str:
    with database.transaction() as session:
        taken = claims.claim(session, "worker-1", 0, lease_seconds=30)
        assert taken is not None
        return taken.job.id


def save(session: Session, job: Job, *steps: int) -> None:
    for step in steps:
        key = f"checkpoints/{job.id}/step-{step}-attempt-{job.attempt}"
        checkpoints.put(session, job, step, key, [], {})


def finish(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        jobs.move(session, jobs.get(session, job_id, None, lock=True), JobEvent.FINISH)


@pytest.fixture
def parent(database: Database, spec: Make) -> str:
    """A running job with checkpoints at the steps 1, 2, 3 and 4."""
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        save(session, jobs.get(session, job_id, None, lock=True), 1, 2, 3, 4)
    return job_id


def supersede(session: Session, job_id: str, keep_last: int = 1) -> list[int]:
    """What a worker does after each checkpoint; the steps that are left, newest first."""
    for row in checkpoints.superseded(session, job_id, keep_last):
        checkpoints.remove(session, row)
    return [row.step for row in checkpoints.of_job(session, job_id)]


def change(database: Database, job_id: str, step: int, **values: Any) -> Checkpoint:
    with database.transaction() as session:
        query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step)
        row = session.scalars(query).one()
        for name, value in values.items():
            setattr(row, name, value)
        return row


def keys(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.scalars(select(Garbage.storage_key).order_by(Garbage.id)))


def test_the_newest_the_best_and_the_promoted_stay_and_the_keys_of_others_become_garbage(
    database: Database, parent: str
) -> None:
    change(database, parent, 1, promoted=True)
    change(database, parent, 2, best=True)
    with database.transaction() as session:
        assert supersede(session, parent) == [4, 2, 1]
    assert keys(database) == [f"checkpoints/{parent}/step-3-attempt-1"]


def test_a_damaged_checkpoint_does_not_count_and_is_deleted(database: Database, parent: str) -> None:
    change(database, parent, 4, damaged=True)
    with database.transaction() as session:
        assert [checkpoints.choose(session, parent, which) for which in ("step-4",)] == [None]
        newest = checkpoints.choose(session, parent, "latest")
        assert newest is not None and newest.step == 3
        assert supersede(session, parent) == [3]


def test_a_job_goes_back_to_its_newest_whole_checkpoint(database: Database, parent: str) -> None:
    change(database, parent, 4, damaged=True)
    with database.transaction() as session:
        for step in (3, 4):
            metrics.put(session, parent, step, {"train/loss": 1.0})
        job = jobs.get(session, parent, None, lock=True)
        leases.rewind(session, job)
        assert session.scalars(select(Metric.step).where(Metric.job_id == parent)).all() == [3]
        assert job.progress["step"] == 3


def test_writing_a_damaged_step_again_makes_it_whole_and_its_old_files_garbage(database: Database, parent: str) -> None:
    change(database, parent, 4, damaged=True)
    with database.transaction() as session:
        job = jobs.get(session, parent, None, lock=True)
        job.attempt = 2
        save(session, job, 4)
        newest = checkpoints.choose(session, parent, "latest")
        assert newest is not None and (newest.step, newest.attempt) == (4, 2)
    assert keys(database) == [f"checkpoints/{parent}/step-4-attempt-1"]


def test_what_an_unfinished_job_names_in_any_field_stays(database: Database, parent: str, spec: Make) -> None:
    ppo = {"type": "ppo", "critic_model": f"job:{parent}@step-2"}
    waiting = submit(database, spec(algorithm=ppo, model=f"job:{parent}@step-1", rewards=[{"type": "math"}]))
    with database.transaction() as session:
        assert supersede(session, parent) == [4, 2, 1]
    with database.transaction() as session:
        commands.cancel(session, "ada", waiting)
    with database.transaction() as session:
        assert supersede(session, parent) == [4]


@pytest.fixture
def child(database: Database, parent: str, spec: Make) -> str:
    """Holds its lease; it starts from the parent's newest."""
    child = submit(database, spec(model=f"job:{parent}@latest"))
    with database.transaction() as session:
        job = jobs.get(session, child, None, lock=True)
        job.attempt += 1
        jobs.move(session, job, JobEvent.CLAIM)
    return child


def origin(session: Session, child: str, parent: str) -> int:
    checkpoint = checkpoints.origin(session, jobs.get(session, child, None, lock=True), f"job:{parent}@latest")
    assert checkpoint is not None
    return checkpoint.step


def test_what_latest_means_is_decided_once(database: Database, parent: str, child: str) -> None:
    with database.transaction() as session:
        assert origin(session, child, parent) == 4
    with database.transaction() as session:
        save(session, jobs.get(session, parent, None, lock=True), 5)
        assert supersede(session, parent) == [5, 4]
        assert origin(session, child, parent) == 4
    finish(database, child)
    with database.transaction() as session:
        assert supersede(session, parent) == [5]


def test_a_newer_checkpoint_waits_for_a_job_that_is_deciding(database: Database, parent: str, child: str) -> None:
    left: list[int] = []

    def newer() -> None:
        with database.transaction() as session:
            save(session, jobs.get(session, parent, None, lock=True), 5)
            left.extend(supersede(session, parent))

    thread = threading.Thread(target=newer)
    with database.transaction() as session:
        assert origin(session, child, parent) == 4
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(60)
    assert left == [5, 4]


def test_a_job_that_decides_while_a_checkpoint_goes_takes_another(database: Database, parent: str, child: str) -> None:
    decided: list[int] = []

    def decide() -> None:
        with database.transaction() as session:
            decided.append(origin(session, child, parent))

    thread = threading.Thread(target=decide)
    with database.transaction() as session:
        row = checkpoints.choose(session, parent, "latest")
        assert row is not None
        checkpoints.remove(session, row)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(60)
    assert decided == [3]


def test_files_shared_with_a_second_job_stay_until_its_row_is_deleted(
    database: Database, parent: str, spec: Make
) -> None:
    retry = submit(database, spec())
    with database.transaction() as session:
        for row in checkpoints.of_job(session, parent):
            checkpoints.share(session, row, jobs.get(session, retry, None))
        for row in checkpoints.of_job(session, parent):
            checkpoints.remove(session, row)
    key = f"checkpoints/{parent}/step-4-attempt-1"
    with database.transaction() as session:
        assert garbage.is_needed(session, key)
        for row in checkpoints.of_job(session, retry):
            checkpoints.remove(session, row)
        assert not garbage.is_needed(session, key)


def test_neither_a_damaged_checkpoint_nor_one_that_is_gone_is_shared(
    database: Database, parent: str, spec: Make
) -> None:
    change(database, parent, 4, damaged=True)
    retry = submit(database, spec())
    with database.transaction() as session:
        found = checkpoints.of_job(session, parent)
    with database.transaction() as session:
        checkpoints.remove(session, found[1])
        for row in found:
            checkpoints.share(session, row, jobs.get(session, retry, None))
        assert [row.step for row in checkpoints.of_job(session, retry)] == [2, 1]


def delete(database: Database, job_id: str, step: int) -> None:
    row = change(database, job_id, step)
    with database.transaction() as session:
        commands.delete_checkpoint(session, "ada", row.id)


def test_what_is_needed_cannot_be_deleted_by_hand(database: Database, parent: str, spec: Make) -> None:
    with pytest.raises(Conflict, match=f"job {parent}, which is running, continues from"):
        delete(database, parent, 4)
    change(database, parent, 3, promoted=True)
    with pytest.raises(Conflict, match="is promoted; demote it first"):
        delete(database, parent, 3)
    waiting = submit(database, spec(model=f"job:{parent}@step-2"))
    with pytest.raises(Conflict, match=f"job {waiting} starts from checkpoint"):
        delete(database, parent, 2)
    delete(database, parent, 1)
    assert keys(database) == [f"checkpoints/{parent}/step-1-attempt-1"]


def test_the_newest_of_a_job_that_has_ended_can_be_deleted(database: Database, parent: str) -> None:
    finish(database, parent)
    delete(database, parent, 4)


def test_unreferenced_is_what_no_row_names_and_no_running_attempt_will(database: Database, parent: str) -> None:
    listed = f"checkpoints/{parent}/step-9-attempt-7"
    with database.transaction() as session:
        garbage.add(session, listed)
    named, future = f"checkpoints/{parent}/step-4-attempt-1", f"checkpoints/{parent}/step-5-attempt-1"
    stale, unknown = f"checkpoints/{parent}/step-5-attempt-0", "checkpoints/ftjob-gone/step-1-attempt-1"
    strange = "partial/checkpoints-x-12"
    with database.transaction() as session:
        every = [named, future, stale, unknown, strange, listed]
        assert garbage.unreferenced(session, every) == [stale, unknown, strange]
    with database.transaction() as session:
        job = jobs.get(session, parent, None, lock=True)
        jobs.fail(session, job, Failure(category="user", message="over"))
    with database.transaction() as session:
        assert garbage.unreferenced(session, [future]) == [future]
