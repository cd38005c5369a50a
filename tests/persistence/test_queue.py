"""The line as it is read: order, reasons and estimates."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from service import commands
from service.domain.jobs import Failure, JobEvent
from service.domain.specs import JobSpec
from service.persistence import claims, jobs, keys, leases, queue, workers
from service.persistence.database import Database
from service.persistence.tables import Job, Worker

Make = Callable[..., JobSpec]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look reads anew."""
    monkeypatch.setattr(queue, "REST", 0.0)


def submit(database: Database, spec: JobSpec, owner: str = "ada") -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester(owner), spec, []).id


def claim(database: Database, gpus: int = 0) -> str:
    with database.transaction() as session:
        job = claims.claim(session, "worker-1", gpus, lease_seconds=30)
        assert job is not None
        return job.id


def here(database: Database, slots: int = 1, gpus: list[dict[str, Any]] | None = None, memory: int = 0) -> None:
    with database.transaction() as session:
        workers.beat(session, "worker-1", "host", 1, slots, ["cpu"], workers.Host(gpus or [], memory))


def line(database: Database, owner: str | None = None, after: int = 0, limit: int = 100) -> list[queue.Place]:
    with database.transaction() as session:
        return queue.page(session, owner, after, limit)


def test_priority_goes_before_fair_share_and_that_before_age(database: Database, spec: Make) -> None:
    running = submit(database, spec(), "ada")
    assert claim(database) == running
    ada = [submit(database, spec(), "ada") for _ in range(2)]
    bob = [submit(database, spec(), "bob") for _ in range(3)]
    urgent = submit(database, spec(priority=5), "ada")
    places = line(database)
    # ada runs one and the urgent one will be her second; so bob's first two (0, 1 before them) go before hers (2, 3)
    assert [place.id for place in places] == [urgent, bob[0], bob[1], ada[0], bob[2], ada[1]]
    assert [place.position for place in places] == [1, 2, 3, 4, 5, 6]


def test_the_line_is_the_order_of_the_claims_devices_included(database: Database, spec: Make) -> None:
    here(database, slots=9, gpus=[{"index": index, "name": "GPU", "memory_bytes": 0} for index in range(8)])
    for owner, gpus in (("ada", 4), ("ada", 1), ("bob", 1), ("bob", 2), ("bob", 1), ("ada", 0), ("eve", 0)):
        submit(database, spec(resources={"gpus": gpus}), owner)
    told = [place.id for place in line(database)]
    assert told == [claim(database, gpus=8) for _ in told]


def test_an_owner_sees_the_positions_of_their_own_jobs_alone(database: Database, spec: Make) -> None:
    submit(database, spec(), "ada")
    bobs = submit(database, spec(), "bob")
    assert [(place.id, place.position) for place in line(database, "bob")] == [(bobs, 2)]
    assert line(database, "bob", after=2) == []


def test_each_job_says_why_it_waits(database: Database, spec: Make) -> None:
    parent = submit(database, spec(priority=9))
    child = submit(database, spec(depends_on=[parent]))
    lost, large = submit(database, spec()), submit(database, spec(resources={"gpus": 2, "gpu_memory_gb": 80}))
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == lost).values(not_before=datetime.now(UTC) + timedelta(minutes=5)))
    here(database, gpus=[{"index": 0, "name": "small", "memory_bytes": 24 * 10**9}])
    why = {place.id: (place.waits_for, place.why) for place in line(database)}
    assert why[parent] == ("worker", "it waits for nothing but a free worker")
    assert why[child] == ("parent", f"{parent} must succeed first")
    assert why[lost][0] == "backoff" and "is tried again at" in why[lost][1]
    assert why[large] == ("capacity", "no worker that is alive has 2 GPUs of 80 GB")
    assert [place.id for place in line(database)][:2] == [parent, large]  # what waits for more than a worker is last


def test_without_a_worker_that_claims_the_reason_is_that(database: Database, spec: Make) -> None:
    submit(database, spec())
    assert line(database)[0].why == "no worker is alive that claims jobs"
    here(database)
    with database.transaction() as session:
        workers.set_draining(session, "worker-1", True)
    assert line(database)[0].waits_for == "capacity"


def test_a_key_at_its_limit_is_named(database: Database, spec: Make) -> None:
    here(database)
    ids = [submit(database, spec()) for _ in range(3)]
    with database.transaction() as session:
        key, _ = keys.add(session, "ada", "member")
        key.max_running = 2
        session.flush()
        session.execute(update(Job).values(key_id=key.id))
    assert claim(database) == ids[0]
    other = submit(database, spec(), "bob")
    places = line(database)
    assert [(place.id, place.waits_for) for place in places] == [
        (other, "worker"),
        (ids[1], "worker"),
        (ids[2], "limit"),
    ]
    assert places[2].why == "its key runs at most 2 jobs at a time (max_running)"


def test_starts_are_estimated_from_what_runs_and_from_what_ran(database: Database, spec: Make) -> None:
    here(database)
    done, running, first, second = (submit(database, spec()) for _ in range(4))
    assert claim(database) == done
    with database.transaction() as session:
        jobs.move(session, leases.hold(session, done, 1, 30), JobEvent.FINISH)
        session.execute(
            update(Job).where(Job.id == done).values(started_at=Job.finished_at - timedelta(seconds=100), ran_seconds=0)
        )
    assert claim(database) == running
    with database.transaction() as session:
        job = leases.hold(session, running, 1, 30)
        job.progress = {**job.progress, "eta_seconds": 20.0}
    now, places = datetime.now(UTC), line(database)
    left = [round((place.estimated_start_at - now).total_seconds(), -1) for place in places if place.estimated_start_at]
    assert [place.id for place in places] == [first, second] and left == [20, 120]


def test_without_any_history_a_start_is_unknown(database: Database, spec: Make) -> None:
    here(database)
    submit(database, spec())
    claim(database)
    submit(database, spec())
    assert line(database)[0].estimated_start_at is None


def test_rooms_are_counted_over_the_living(database: Database, spec: Make) -> None:
    here(database, slots=3, gpus=[{"index": n, "name": "g", "memory_bytes": 1} for n in range(2)])
    submit(database, spec(resources={"gpus": 1}))
    claim(database, gpus=2)
    submit(database, spec())
    with database.transaction() as session:
        workers.beat(session, "dead", "host", 2, 8, ["cpu"])
        session.execute(
            update(Worker).where(Worker.id == "dead").values(beat_at=datetime.now(UTC) - timedelta(hours=1))
        )
    with database.transaction() as session:
        counts = queue.line(session).counts
    assert (counts.running, counts.queued, counts.paused) == (1, 1, 0)
    assert (counts.free_slots, counts.slots, counts.free_gpus, counts.gpus) == (2, 3, 1, 2)


def test_a_job_that_ended_stands_nowhere(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        jobs.fail(session, jobs.get(session, job_id, None, lock=True), Failure(category="user", message="no"))
    assert line(database) == []


def test_ten_thousand_queued_jobs_have_their_places(database: Database, spec: Make) -> None:
    first = submit(database, spec())
    with database.transaction() as session:
        copy = """INSERT INTO jobs (id, owner, status, algorithm, model, spec, tags, priority, gpus, depends_on,
                max_restarts, progress)
            SELECT 'job-' || n, 'owner-' || n % 7, status, algorithm, model, spec, tags, n % 3, gpus, depends_on,
                max_restarts, progress
            FROM jobs, generate_series(1, 9999) n WHERE jobs.id = :first"""
        session.execute(text(copy), {"first": first})
    with database.transaction() as session:
        positions = queue.line(session).positions
        assert sorted(positions.values()) == list(range(1, 10_001))
        assert [place.position for place in queue.page(session, None, 9_990, 100)] == list(range(9_991, 10_001))
