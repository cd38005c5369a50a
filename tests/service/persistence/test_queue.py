"""The queue view: order, reasons and estimates."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text, update

from hone.documents import QueuedRead, Usage
from hone.documents.status import Failure
from service import commands, queue_view
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION
from service.persistence import claims, jobs, keys, leases, workers
from service.persistence.database import Database
from service.persistence.tables import Job, Worker

Make = Callable[..., JobSpec]


def submit(database: Database, spec: JobSpec, owner: str = "ada") -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester(owner), spec, []).id


def claim(database: Database, gpus: int = 0) -> str:
    with database.transaction() as session:
        taken = claims.claim(session, "worker-1", gpus, lease_seconds=30)
        assert taken is not None
        return taken.job.id


def beat(database: Database, slots: int = 1, gpus: list[dict[str, Any]] | None = None, memory: int = 0) -> None:
    with database.transaction() as session:
        workers.beat(session, "worker-1", workers.Process("host", 1, slots, ["cpu"]), _host(gpus or [], memory))


def _host(gpus: list[dict[str, Any]], memory: int) -> workers.Host:
    return workers.Host(gpus, memory, versions={"spec": str(SPEC_VERSION)})


def queue(database: Database, owner: str | None = None, after: int = 0, limit: int = 100) -> list[QueuedRead]:
    with database.transaction() as session:
        return queue_view.page(session, queue_view.read(session), owner, after, limit)


def test_priority_goes_before_fair_share_and_that_before_age(database: Database, spec: Make) -> None:
    running = submit(database, spec(), "ada")
    assert claim(database) == running
    ada = [submit(database, spec(), "ada") for _ in range(2)]
    bob = [submit(database, spec(), "bob") for _ in range(3)]
    urgent = submit(database, spec(priority=5), "ada")
    queued = queue(database)
    # ada runs one and the urgent one will be her second; so bob's first two (0, 1 before them) go before hers (2, 3)
    assert [job.id for job in queued] == [urgent, bob[0], bob[1], ada[0], bob[2], ada[1]]
    assert [job.position for job in queued] == [1, 2, 3, 4, 5, 6]


def test_the_queue_is_the_order_of_the_claims_devices_included(database: Database, with_gpus: Make) -> None:
    beat(database, slots=9, gpus=[{"index": index, "name": "GPU", "memory_bytes": 0} for index in range(8)])
    for owner, gpus in (("ada", 4), ("ada", 1), ("bob", 1), ("bob", 2), ("bob", 1), ("ada", 0), ("eve", 0)):
        submit(database, with_gpus(gpus), owner)
    shown = [job.id for job in queue(database)]
    assert shown == [claim(database, gpus=8) for _ in shown]


def test_an_owner_sees_the_positions_of_their_own_jobs_alone(database: Database, spec: Make) -> None:
    submit(database, spec(), "ada")
    bobs = submit(database, spec(), "bob")
    assert [(job.id, job.position) for job in queue(database, "bob")] == [(bobs, 2)]
    assert queue(database, "bob", after=2) == []


def test_each_job_says_why_it_waits(database: Database, spec: Make, with_gpus: Make) -> None:
    parent = submit(database, spec(priority=9))
    child = submit(database, spec(depends_on=[parent]))
    lost, large = submit(database, spec()), submit(database, with_gpus(2, gpu_memory_gb=80))
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == lost).values(not_before=datetime.now(UTC) + timedelta(minutes=5)))
    beat(database, gpus=[{"index": 0, "name": "small", "memory_bytes": 24 * 10**9}])
    why = {job.id: (job.waits_for, job.why) for job in queue(database)}
    assert why[parent] == ("worker", "it waits for a free worker")
    assert why[child] == ("parent", f"{parent} must succeed first")
    assert why[lost][0] == "backoff" and "is tried again at" in why[lost][1]
    assert why[large] == ("capacity", "no live worker has 2 GPUs of 80 GB")
    assert [job.id for job in queue(database)][:2] == [parent, large]  # what waits for more than a worker is last


def test_without_a_worker_that_claims_the_reason_is_that(database: Database, spec: Make) -> None:
    submit(database, spec())
    assert queue(database)[0].why == "there is no live worker that claims jobs"
    beat(database)
    with database.transaction() as session:
        workers.set_draining(session, "worker-1", draining=True)
    assert queue(database)[0].waits_for == "capacity"


def test_a_key_at_its_limit_is_named(database: Database, spec: Make) -> None:
    beat(database)
    ids = [submit(database, spec()) for _ in range(3)]
    with database.transaction() as session:
        key, _ = keys.add(session, "ada", "member")
        key.max_running = 2
        session.flush()
        session.execute(update(Job).values(key_id=key.id))
    assert claim(database) == ids[0]
    other = submit(database, spec(), "bob")
    queued = queue(database)
    assert [(job.id, job.waits_for) for job in queued] == [
        (other, "worker"),
        (ids[1], "worker"),
        (ids[2], "limit"),
    ]
    assert queued[2].why == "its key runs at most 2 jobs at a time (max_running)"


def test_starts_are_estimated_from_what_runs_and_from_what_ran(database: Database, spec: Make) -> None:
    beat(database)
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
    now, queued = datetime.now(UTC), queue(database)
    left = [round((job.estimated_start_at - now).total_seconds(), -1) for job in queued if job.estimated_start_at]
    assert [job.id for job in queued] == [first, second] and left == [20, 120]


def test_without_any_history_a_start_is_unknown(database: Database, spec: Make) -> None:
    beat(database)
    submit(database, spec())
    claim(database)
    submit(database, spec())
    assert queue(database)[0].estimated_start_at is None


def test_slots_and_gpus_of_live_workers_are_counted(database: Database, spec: Make) -> None:
    beat(database, slots=3, gpus=[{"index": n, "name": "g", "memory_bytes": 1} for n in range(2)])
    submit(database, spec(resources={"gpus": 1}))
    claim(database, gpus=2)
    submit(database, spec())
    with database.transaction() as session:
        workers.beat(session, "dead", workers.Process("host", 2, 8, ["cpu"]))
        session.execute(
            update(Worker).where(Worker.id == "dead").values(beat_at=datetime.now(UTC) - timedelta(hours=1))
        )
    with database.transaction() as session:
        snapshot = queue_view.read(session)
    assert (snapshot.running, len(snapshot.ids), snapshot.paused) == (1, 1, 0)
    assert (snapshot.slots, snapshot.gpus) == (Usage(free=2, all=3), Usage(free=1, all=2))


def test_an_ended_job_is_not_in_the_queue(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    with database.transaction() as session:
        jobs.fail(session, jobs.get(session, job_id, None, lock=True), Failure(category="user", message="no"))
    assert queue(database) == []


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
        snapshot = queue_view.read(session)
        assert sorted(snapshot.positions.values()) == list(range(1, 10_001))
        last = queue_view.page(session, snapshot, None, 9_990, 100)
        assert [job.position for job in last] == list(range(9_991, 10_001))


def test_a_snapshot_serves_for_as_many_times_as_it_took_to_read(database: Database, spec: Make) -> None:
    view, fresh = queue_view.QueueView(reuse=1e9), queue_view.QueueView(reuse=0)
    first = submit(database, spec())
    with database.transaction() as session:
        assert view.snapshot(session).ids == fresh.snapshot(session).ids == [first]
    second = submit(database, spec())
    with database.transaction() as session:
        assert view.snapshot(session).ids == [first]
        assert fresh.snapshot(session).ids == [first, second]
