"""Claims, leases and restarts, on a real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from hone.documents.status import Failure, JobStatus
from hone.errors import LeaseLost
from service import commands
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, events, jobs, leases, metrics
from service.persistence.database import Database
from service.persistence.tables import Event, Job, Metric, Outbox

Make = Callable[..., JobSpec]
LOST = Failure(category="lost", message="silence")


def submit(database: Database, spec: JobSpec, key: str | None = None) -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester("ada", idempotency_key=key), spec, []).id


def claim(database: Database, gpus: int = 0) -> Job | None:
    with database.transaction() as session:
        taken = claims.claim(session, "worker-1", gpus, lease_seconds=30)
        return taken.job if taken else None


def test_a_submitted_job_has_a_first_event_and_a_doorbell(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        assert session.scalars(select(Outbox.payload)).all() == [{"job_id": job_id}]
        assert [event.data["status"] for event in events.page(session, job_id, 0, 10)] == ["queued"]


def test_a_failed_submit_leaves_neither_job_nor_doorbell(database: Database, spec: Make) -> None:
    with pytest.raises(RuntimeError), database.transaction() as session:
        commands.submit(session, commands.Requester("ada"), spec(), [])
        raise RuntimeError("the process died here")
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_higher_priority_then_older_is_claimed_first(database: Database, spec: Make) -> None:
    old, new, urgent = (submit(database, spec(priority=priority)) for priority in (0, 0, 5))
    claimed = [claim(database) for _ in range(3)]
    assert [job.id for job in claimed if job] == [urgent, old, new]
    assert claim(database) is None


def test_a_job_locked_by_one_claim_is_not_seen_by_another(database: Database, spec: Make) -> None:
    first, second = submit(database, spec()), submit(database, spec())
    with database.transaction() as session, database.transaction() as other_session:
        taken = claims.claim(session, "worker-1", 0, 30)
        also = claims.claim(other_session, "worker-2", 0, 30)
        assert taken and also and {taken.job.id, also.job.id} == {first, second}


def test_a_job_that_wants_a_gpu_waits_for_a_worker_that_has_one(database: Database, with_gpus: Make) -> None:
    job_id = submit(database, with_gpus(2))
    assert claim(database, gpus=1) is None
    claimed = claim(database, gpus=2)
    assert claimed is not None and claimed.id == job_id


def test_a_child_is_claimed_only_after_its_parent_succeeded(database: Database, spec: Make) -> None:
    parent = submit(database, spec())
    child = submit(database, spec(model=f"job:{parent}@latest", priority=9))
    running = claim(database)
    assert running is not None and running.id == parent
    assert claim(database) is None
    with database.transaction() as session:
        jobs.move(session, leases.hold(session, parent, 1, 30), JobEvent.FINISH)
    claimed = claim(database)
    assert claimed is not None and claimed.id == child


def test_the_child_of_a_failed_parent_is_unstartable(database: Database, spec: Make) -> None:
    parent = submit(database, spec())
    child = submit(database, spec(depends_on=[parent]))
    claim(database)
    with database.transaction() as session:
        jobs.fail(session, leases.hold(session, parent, 1, 30), Failure(category="user", message="bad rows"))
    with database.transaction() as session:
        assert [(job.id, failed.id) for job, failed in jobs.unstartable(session)] == [(child, parent)]


def test_a_stale_attempt_cannot_write(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        leases.lose(session, leases.hold(session, job_id, 1, 30), LOST)
    assert claim(database) is not None  # attempt 2
    with pytest.raises(LeaseLost), database.transaction() as session:
        leases.hold(session, job_id, 1, 30)
    with database.transaction() as session:
        assert leases.hold(session, job_id, 2, 30).attempt == 2


def test_only_a_lease_that_ran_out_is_expired(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        assert leases.expired(session) == []
        session.execute(update(Job).values(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    with database.transaction() as session:
        assert [job.id for job in leases.expired(session)] == [job_id]


def test_a_job_that_is_lost_too_often_fails_and_says_so(database: Database, spec: Make) -> None:
    job_id = submit(database, spec(max_restarts=1))
    for attempt in (1, 2):
        with database.transaction() as session:
            session.execute(update(Job).values(not_before=None))
        assert claim(database) is not None
        with database.transaction() as session:
            leases.lose(session, leases.hold(session, job_id, attempt, 30), LOST)
    with database.transaction() as session:
        job = jobs.get(session, job_id, "ada")
        assert job.status == JobStatus.FAILED and job.failure is not None
        assert job.failure["category"] == "lost" and "restarted 1 times (max_restarts)" in job.failure["message"]


def test_losing_a_job_that_was_being_cancelled_ends_it(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        commands.cancel(session, "ada", job_id)
    with database.transaction() as session:
        leases.lose(session, leases.hold(session, job_id, 1, 30), LOST)
        assert jobs.get(session, job_id, "ada").status == JobStatus.CANCELLED


def test_a_new_attempt_removes_what_lies_beyond_its_checkpoint(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        job = leases.hold(session, job_id, 1, 30)
        for step in (1, 2, 3):
            metrics.put(session, job_id, step, {"train/loss": 1.0 / step})
            events.add(session, job, "metrics", {"step": step}, step)
        metrics.put(session, job_id, 1, {"eval/accuracy": 0.25})
        checkpoints.put(session, job, 2, "somewhere", [], {"train/loss": 0.5})
        leases.lose(session, job, LOST)
    claim(database)
    with database.transaction() as session:
        assert session.scalars(select(Metric.step).where(Metric.name == "train/loss")).all() == [1, 2]
        assert jobs.get(session, job_id, "ada").metrics == {"train/loss": 0.5, "eval/accuracy": 0.25}
        assert session.scalars(select(Event.step).where(Event.kind == "metrics").order_by(Event.step)).all() == [1, 2]


def test_the_same_idempotency_key_makes_one_job(database: Database, spec: Make) -> None:
    assert submit(database, spec(), "once") == submit(database, spec(), "once")
    assert submit(database, spec(), "twice") != submit(database, spec(), None)


def test_events_are_numbered_without_gaps(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    claim(database)
    with database.transaction() as session:
        job = leases.hold(session, job_id, 1, 30)
        for line in "abc":
            events.add(session, job, "log", {"line": line})
    with database.transaction() as session:
        assert [event.seq for event in events.page(session, job_id, 0, 10)] == [1, 2, 3, 4, 5]
        assert jobs.get(session, job_id, "ada").version == 5
