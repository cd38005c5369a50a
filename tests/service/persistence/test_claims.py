"""Which job is taken, and within which limits."""

import time
from collections.abc import Callable

import pytest

from hone.errors import Unavailable
from service import commands
from service.commands import Requester
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.persistence import claims, clock, jobs, leases, samples
from service.persistence.database import Database, Session
from service.persistence.tables import Job, Key

Make = Callable[..., JobSpec]


def submit(database: Database, spec: JobSpec, owner: str = "ada", key_id: str | None = None) -> str:
    with database.transaction() as session:
        return commands.submit(session, Requester(owner, key_id), spec, []).id


def claim(database: Database, gpus: int = 0, fits: claims.Fits = lambda _: True) -> str | None:
    with database.transaction() as session:
        taken = claims.claim(session, "worker-1", gpus, lease_seconds=30, fits=fits)
        return taken.job.id if taken else None


def key(database: Database, **limits: int) -> str:
    with database.transaction() as session:
        created, _ = commands.create_key(session, "ada", "member")
        for name, value in limits.items():
            setattr(created, name, value)
        return created.id


def test_the_owner_who_runs_least_comes_first(database: Database, spec: Make) -> None:
    ada = [submit(database, spec(), "ada") for _ in range(3)]
    bob = [submit(database, spec(), "bob") for _ in range(2)]
    assert [claim(database) for _ in range(5)] == [ada[0], bob[0], ada[1], bob[1], ada[2]]


def test_priority_comes_before_fairness(database: Database, spec: Make) -> None:
    ada = [submit(database, spec(priority=1), "ada") for _ in range(2)]
    submit(database, spec(), "bob")
    assert [claim(database), claim(database)] == ada


def test_devices_count_for_fairness(database: Database, spec: Make, with_gpus: Make) -> None:
    big = submit(database, with_gpus(4), "ada")
    assert claim(database, gpus=4) == big
    bob = submit(database, spec(), "bob")
    assert claim(database) == bob
    submit(database, spec(), "ada")
    again = submit(database, spec(), "bob")
    assert claim(database) == again


def test_a_job_that_does_not_fit_lets_those_behind_it_pass(database: Database, spec: Make) -> None:
    for _ in range(claims.BATCH + 1):
        submit(database, spec(resources={"memory_gb": 100}))
    small = submit(database, spec())
    assert claim(database, fits=lambda resources: resources.memory_gb is None) == small
    assert claim(database, fits=lambda resources: resources.memory_gb is None) is None


def test_a_key_runs_no_more_jobs_than_it_may(database: Database, spec: Make) -> None:
    limited = key(database, max_running=1)
    first, second = (submit(database, spec(), key_id=limited) for _ in range(2))
    free = submit(database, spec())
    assert [claim(database), claim(database), claim(database)] == [first, free, None]
    with database.transaction() as session:
        jobs.move(session, leases.hold(session, first, 1, 30), JobEvent.FINISH)
    assert claim(database) == second


def test_a_key_gets_no_more_gpus_than_it_may(database: Database, spec: Make, with_gpus: Make) -> None:
    limited = key(database, max_gpus=2)
    first, _ = (submit(database, with_gpus(2), key_id=limited) for _ in range(2))
    small = submit(database, spec(), key_id=limited)
    assert [claim(database, 8), claim(database, 8), claim(database, 8)] == [first, small, None]


def test_two_claims_at_once_keep_a_limit(database: Database, spec: Make) -> None:
    limited = key(database, max_running=1)
    for _ in range(2):
        submit(database, spec(), key_id=limited)
    with database.transaction() as session, database.transaction() as other_session:
        taken = claims.claim(session, "worker-1", 0, 30)
        assert taken is not None and claims.claim(other_session, "worker-2", 0, 30) is None


def test_a_job_outlives_its_key(database: Database, spec: Make) -> None:
    limited = key(database, max_running=0)
    job_id = submit(database, spec(), key_id=limited)
    assert claim(database) is None
    with database.transaction() as session:
        session.delete(session.get_one(Key, limited))
    assert claim(database) == job_id


def test_running_time_adds_up_over_attempts(database: Database, spec: Make) -> None:
    job_id = submit(database, spec())
    for attempt in (1, 2):
        claim(database)
        with database.transaction() as session:
            job = leases.hold(session, job_id, attempt, 30)
            assert job.attempt_started_at is not None
            job.attempt_started_at = job.attempt_started_at.replace(year=job.attempt_started_at.year - 1)
            before = job.ran_seconds
            jobs.move(session, job, JobEvent.RELEASE)
            assert job.ran_seconds - before > 300 * 86_400
    with database.transaction() as session:
        assert session.get_one(Job, job_id).attempt_started_at is None


def nothing(session: Session, job_id: str) -> None:
    """As soon as it has its first lock."""


def many_rows(session: Session, job_id: str) -> None:
    """Which the driver sends in another way."""
    sample: dict[str, object] = {
        "split": "train",
        "prompt": "",
        "response": "",
        "answer": None,
        "reward": 0.0,
        "rewards": {},
    }
    samples.add(session, job_id, 1, [sample | {"tokens": 1, "truncated": False}] * 3)


@pytest.mark.parametrize("write", [nothing, many_rows])
def test_a_worker_that_freezes_inside_of_a_transaction_loses_its_locks(
    database: Database, embedded: Servers, spec: Make, write: Callable[[Session, str], None]
) -> None:
    job_id = submit(database, spec())
    worker = Database(embedded.database_url, stall_seconds=0.2)
    with pytest.raises(Unavailable), worker.transaction() as frozen:
        jobs.get(frozen, job_id, None, lock=True)
        write(frozen, job_id)
        time.sleep(1)
        with database.transaction() as session:
            other = claims.claim(session, "worker-2", 0, lease_seconds=30)
            assert other is not None and other.job.id == job_id
        clock.now(frozen)
    worker.close()
