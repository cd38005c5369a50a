"""What a user can do with a job, on a real PostgreSQL."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import delete, func, select, update

from hone.documents import JobExtension
from hone.documents.status import Failure, JobStatus
from hone.errors import Conflict, IllegalMove, Invalid, LimitReached, NotFound
from service import commands
from service.commands import Requester
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, events, jobs, leases, metrics, samples
from service.persistence.database import Database, Session
from service.persistence.tables import Checkpoint, Garbage, Job, Metric, Outbox, Sample

Make = Callable[..., JobSpec]
ADA = Requester("ada")


def submit(database: Database, spec: JobSpec, by: Requester = ADA) -> str:
    with database.transaction() as session:
        return commands.submit(session, by, spec, []).id


def status(database: Database, job_id: str) -> str:
    with database.transaction() as session:
        return jobs.get(session, job_id, "ada").status


def run(session: Session) -> Job:
    taken = claims.claim(session, "worker-1", 0, lease_seconds=30)
    assert taken is not None
    return taken.job


def came_to_nothing(database: Database, steps: int, saved: int) -> None:
    """The next job runs for some steps, saves at one of them, and fails."""
    with database.transaction() as session:
        job = run(session)
        for step in range(1, steps + 1):
            metrics.put(session, job.id, step, {"train/loss": 1 / step})
            sample = {"split": "train", "prompt": "1+1", "response": "2", "answer": "2", "reward": 1.0}
            samples.add(session, job.id, step, [sample | {"rewards": {}, "tokens": 1, "truncated": False}])
        checkpoints.put(session, job, saved, f"checkpoints/{job.id}/step-{saved}-attempt-1", [], {"train/loss": 9.0})
        jobs.fail(session, job, Failure(category="oom", message="too large"))


def test_a_repeated_request_without_a_key_makes_one_job(database: Database, spec: Make) -> None:
    first = submit(database, spec())
    assert submit(database, spec(), Requester("ada", repeated=True)) == first
    assert submit(database, spec(), Requester("bob", repeated=True)) != first
    assert submit(database, spec(steps=9), Requester("ada", repeated=True)) != first
    assert submit(database, spec()) != first  # whoever asks twice wants two


def test_an_original_that_comes_after_its_repetitions_makes_no_second_job(database: Database, spec: Make) -> None:
    first = submit(database, spec(), Requester("ada", repeated=True))
    assert submit(database, spec(), Requester("ada", repeated=True)) == first
    assert submit(database, spec(steps=9)) != first and submit(database, spec(), Requester("bob")) != first
    assert submit(database, spec()) == first  # the original
    assert submit(database, spec()) != first  # whoever asks again wants two


def test_a_job_that_a_repetition_made_long_ago_is_not_that_of_a_new_request(database: Database, spec: Make) -> None:
    first = submit(database, spec(), Requester("ada", repeated=True))
    with database.transaction() as session:
        session.execute(update(Job).values(created_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 3)))
    assert submit(database, spec()) != first


def test_a_request_that_is_repeated_much_later_makes_another_job(database: Database, spec: Make) -> None:
    first = submit(database, spec())
    with database.transaction() as session:
        session.execute(update(Job).values(created_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 16)))
    assert submit(database, spec(), Requester("ada", repeated=True)) != first


def test_a_key_used_for_another_spec_is_refused(database: Database, spec: Make) -> None:
    by = Requester("ada", idempotency_key="once")
    submit(database, spec(), by)
    with pytest.raises(Conflict, match="use a new key"):
        submit(database, spec(steps=9), by)


def test_a_key_may_have_only_so_many_jobs_waiting(database: Database, spec: Make) -> None:
    with database.transaction() as session:
        key, _ = commands.create_key(session, "ada", "member")
        key.max_queued = 2
    by = Requester("ada", key.id, max_queued=2)
    submit(database, spec(), by)
    submit(database, spec(), by)
    with pytest.raises(LimitReached, match="may have 2 queued jobs"):
        submit(database, spec(), by)
    with database.transaction() as session:
        run(session)
    submit(database, spec(), by)


def test_a_queued_job_is_held_back_and_comes_again(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        assert commands.pause(session, "ada", job_id).status == JobStatus.PAUSED
        assert claims.claim(session, "worker-1", 0, 30) is None
    with database.transaction() as session:
        session.execute(delete(Outbox))
        assert commands.resume(session, "ada", job_id).status == JobStatus.QUEUED
        assert session.scalars(select(Outbox.payload)).all() == [{"job_id": job_id}]
        assert commands.resume(session, "ada", job_id).status == JobStatus.QUEUED  # twice is fine
        assert run(session).id == job_id


def test_a_running_job_is_paused_by_its_worker(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        run(session)
        assert commands.pause(session, "ada", job_id).status == JobStatus.PAUSING
        assert commands.pause(session, "ada", job_id).status == JobStatus.PAUSING
        with pytest.raises(IllegalMove, match="cannot resume a pausing job"):
            commands.resume(session, "ada", job_id)
        jobs.move(session, leases.hold(session, job_id, 1, 30), JobEvent.STOP)
    assert status(database, job_id) == JobStatus.PAUSED


def test_a_job_whose_worker_dies_while_it_pauses_is_paused(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(max_restarts=0))
    with database.transaction() as session:
        run(session)
        commands.pause(session, "ada", job_id)
        leases.lose(session, leases.hold(session, job_id, 1, 30), Failure(category="lost", message="gone"))
    assert status(database, job_id) == JobStatus.PAUSED


def test_resuming_a_job_before_its_next_attempt_is_logged_and_sends_a_doorbell(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        for _ in range(4):  # the next try is in 8 seconds
            session.execute(update(Job).values(not_before=None))
            leases.lose(session, run(session), Failure(category="lost", message="gone"))
    with database.transaction() as session:
        session.execute(delete(Outbox))
        assert claims.claim(session, "worker-1", 0, lease_seconds=30) is None
        before = jobs.version(session, job_id, "ada")
    with database.transaction() as session:
        commands.resume(session, "ada", job_id)
    with database.transaction() as session:
        assert jobs.version(session, job_id, "ada") != before
        assert [doorbell["job_id"] for doorbell in session.scalars(select(Outbox.payload))] == [job_id]
        assert run(session).restarts == 0


def test_a_retry_continues_from_the_last_checkpoint_of_the_failed_job(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(steps=5))
    came_to_nothing(database, steps=4, saved=3)
    with database.transaction() as session:
        again = commands.retry(session, ADA, job_id, "ada", [])
        assert (again.status, again.retry_of, again.spec["steps"]) == (JobStatus.QUEUED, job_id, 5)
    with database.transaction() as session:
        assert run(session).id == again.id
        assert session.scalars(select(Metric.step).where(Metric.job_id == again.id)).all() == [1, 2, 3]
        assert session.scalars(select(Sample.step).where(Sample.job_id == again.id)).all() == [1, 2, 3]
        newest = checkpoints.choose(session, again.id, "latest")
        assert newest is not None and newest.step == 3
        assert newest.storage_key == f"checkpoints/{job_id}/step-3-attempt-1"
        assert jobs.get(session, again.id, "ada").progress["step"] == 3


def test_only_what_failed_or_was_cancelled_can_be_retried(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session, pytest.raises(IllegalMove, match="cannot retry a queued job; clone it"):
        commands.retry(session, ADA, job_id, "ada", [])


def test_a_retry_that_is_sent_twice_makes_one_job(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    came_to_nothing(database, steps=2, saved=1)
    by = Requester("ada", idempotency_key="again")
    with database.transaction() as session:
        first = commands.retry(session, by, job_id, "ada", []).id
    with database.transaction() as session:
        assert commands.retry(session, by, job_id, "ada", []).id == first
        assert session.scalar(select(func.count()).select_from(Checkpoint)) == 2


def succeeded(database: Database, job_id: str, step: int, **progress: float) -> None:
    """The next job runs, saves its last step, and ends."""
    with database.transaction() as session:
        job = run(session)
        assert job.id == job_id
        metrics.put(session, job.id, step, {"train/loss": 1 / step})
        checkpoints.put(session, job, step, f"checkpoints/{job.id}/step-{step}-attempt-1", [], {"train/loss": 9.0})
        job.progress = {**job.progress, "step": step, "total_steps": step, **progress}
        jobs.move(session, job, JobEvent.FINISH)


def extend(database: Database, job_id: str, by: Requester = ADA, **further: Any) -> Job:
    with database.transaction() as session:
        return commands.extend(session, by, job_id, "ada", [], JobExtension.model_validate(further))


@pytest.mark.parametrize(
    ("own", "progress", "further", "whole"),
    [
        ({"steps": 4}, {}, {"steps": 3}, (7, None)),
        ({"steps": 9}, {"total_steps": 9}, {"steps": 3}, (7, None)),
        ({"steps": 4}, {"steps_per_epoch": 2.5}, {"epochs": 2}, (9, None)),
        ({"steps": None, "epochs": 2}, {"steps_per_epoch": 2.0}, {"epochs": 0.5}, (None, 2.5)),
        ({"steps": None, "epochs": 2}, {"steps_per_epoch": 2.0}, {"steps": 1}, (5, None)),
        ({"steps": None, "epochs": 9}, {"steps_per_epoch": 2.0, "total_steps": 18}, {"epochs": 1}, (6, None)),
    ],
)
def test_an_extension_continues_a_job_that_has_succeeded_for_longer(
    database: Database, spec: Make, own: dict[str, Any], progress: dict[str, Any], further: dict[str, Any], whole: Any
) -> None:
    job_id = submit(database, spec(**own))
    succeeded(database, job_id, 4, **progress)
    longer = extend(database, job_id, **further)
    assert (longer.status, longer.retry_of) == (JobStatus.QUEUED, job_id)
    assert (longer.spec["steps"], longer.spec["epochs"]) == whole
    with database.transaction() as session:
        assert run(session).id == longer.id
        newest = checkpoints.choose(session, longer.id, "latest")
        assert newest is not None
        assert newest.storage_key == f"checkpoints/{job_id}/step-4-attempt-1"
        assert session.scalars(select(Metric.step).where(Metric.job_id == longer.id)).all() == [4]
        assert jobs.get(session, job_id, "ada").status == JobStatus.SUCCEEDED


def test_only_what_has_succeeded_can_be_extended(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with pytest.raises(IllegalMove, match="cannot extend a queued job; let it end first"):
        extend(database, job_id, steps=1)
    came_to_nothing(database, steps=2, saved=1)
    with pytest.raises(IllegalMove, match="cannot extend a failed job; retry it"):
        extend(database, job_id, steps=1)


def test_an_extension_that_cannot_be_is_refused_with_the_field(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(steps=4))
    succeeded(database, job_id, 4)
    with pytest.raises(Invalid, match="did not count its batches per epoch; give steps") as refusal:
        extend(database, job_id, epochs=1)
    assert refusal.value.param == "epochs"
    with pytest.raises(Invalid, match="would have 10,000,003 steps"):
        extend(database, job_id, steps=9_999_999)
    for wrong, reason in (({}, "is needed, or epochs"), ({"steps": 1, "epochs": 1}, "leave one of them out")):
        with pytest.raises(ValidationError, match=reason):
            JobExtension.model_validate(wrong)
    with database.transaction() as session:
        for row in checkpoints.of_job(session, job_id):
            checkpoints.remove(session, row)
    with pytest.raises(Conflict, match="has no checkpoint to continue from; clone it with more steps"):
        extend(database, job_id, steps=1)


def test_an_extension_that_is_sent_twice_makes_one_job(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(steps=4))
    succeeded(database, job_id, 4)
    by = Requester("ada", idempotency_key="longer")
    assert extend(database, job_id, by, steps=2).id == extend(database, job_id, by, steps=2).id
    with pytest.raises(Conflict, match="already made job"):
        extend(database, job_id, by, steps=3)


def clone_with_more_steps(session: Session, by: Requester, job_id: str) -> Job:
    return commands.clone(session, by, job_id, "ada", [], {"steps": 7})


def retried(session: Session, by: Requester, job_id: str) -> Job:
    return commands.retry(session, by, job_id, "ada", [])


@pytest.mark.parametrize("again", [retried, clone_with_more_steps])
def test_a_request_that_is_repeated_after_its_job_was_deleted_finds_what_it_made(
    database: Database, spec: Make, again: Callable[..., Job]
) -> None:
    by = Requester("ada", idempotency_key="again")
    job_id = submit(database, spec())
    came_to_nothing(database, steps=2, saved=1)
    with database.transaction() as session:
        new_id = again(session, by, job_id).id
    with database.transaction() as session:
        commands.delete(session, "ada", job_id)
    with database.transaction() as session:
        assert again(session, by, job_id).id == new_id
        with pytest.raises(Conflict, match="from another request"):
            commands.clone(session, by, job_id, "ada", [], {"steps": 8})
        with pytest.raises(NotFound):
            again(session, ADA, job_id)


@pytest.mark.parametrize("again", [retried, clone_with_more_steps])
def test_the_same_request_for_another_of_a_job_twice_at_the_same_time_makes_one(
    database: Database, spec: Make, again: Callable[..., Job]
) -> None:
    by = Requester("ada", idempotency_key="again")
    job_id = submit(database, spec())
    came_to_nothing(database, steps=2, saved=1)
    job_ids: list[str] = []

    def second() -> None:
        with database.transaction() as session:
            job_ids.append(again(session, by, job_id).id)

    waiting = threading.Thread(target=second)
    with database.transaction() as session:
        first = again(session, by, job_id).id
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(60)
    assert job_ids == [first]
    with database.transaction() as session:
        copied = 1 if again is retried else 0
        assert session.scalar(select(func.count()).select_from(Checkpoint)) == 1 + copied


def test_a_clone_runs_the_spec_again_with_changes(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(tags={"team": "a"}, name="first"))
    with database.transaction() as session:
        changes = {"steps": 7, "optimizer": {"learning_rate": 0.5}, "name": None}
        copy = commands.clone(session, ADA, job_id, "ada", [], changes)
        assert (copy.clone_of, copy.spec["steps"], copy.spec["optimizer"]["learning_rate"]) == (job_id, 7, 0.5)
        assert copy.name is None and copy.tags == {"team": "a"}
        with pytest.raises(ValidationError, match="steps"):
            commands.clone(session, ADA, job_id, "ada", [], {"steps": 0})


def test_name_priority_and_tags_can_be_changed(database: Database, spec: Make) -> None:
    low, high = submit(database, spec()), submit(database, spec(priority=5))
    with database.transaction() as session:
        commands.change(session, "ada", low, {"priority": 9, "name": "now"})
        lines = events.page(session, low, 1, 10)
        assert [event.data["line"] for event in lines] == ["priority is now 9, name is now now"]
        assert [run(session).id, run(session).id] == [low, high]


def test_a_deleted_job_leaves_its_files_to_the_collector(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session, pytest.raises(IllegalMove, match="cannot delete a queued job; cancel it"):
        commands.delete(session, "ada", job_id)
    came_to_nothing(database, steps=2, saved=1)
    with database.transaction() as session:
        commands.delete(session, "ada", job_id)
    with database.transaction() as session:
        with pytest.raises(NotFound):
            jobs.get(session, job_id, "ada")
        assert session.scalars(select(Garbage.storage_key)).all() == [f"checkpoints/{job_id}/step-1-attempt-1"]
        assert session.scalar(select(func.count()).select_from(Metric)) == 0


def test_a_job_that_another_waits_for_cannot_be_deleted(database: Database, spec: Make) -> None:
    parent = submit(database, spec())
    with database.transaction() as session:
        job = run(session)
        checkpoints.put(session, job, 3, "somewhere", [], {})
        jobs.move(session, job, JobEvent.FINISH)
    child = submit(database, spec(model=f"job:{parent}"))
    with database.transaction() as session, pytest.raises(Conflict, match=f"{child} will start from it"):
        commands.delete(session, "ada", parent)


def test_the_same_request_twice_at_the_same_time_makes_one_job(database: Database, spec: Make) -> None:
    by = Requester("ada", idempotency_key="once")
    job_ids: list[str] = []

    def second() -> None:
        job_ids.append(submit(database, spec(), by))

    waiting = threading.Thread(target=second)
    with database.transaction() as session:
        first = commands.submit(session, by, spec(), []).id
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()  # until it is known whether the first one happens
    waiting.join(60)
    assert job_ids == [first]
