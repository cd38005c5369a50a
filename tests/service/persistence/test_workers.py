"""Workers as rows: what they run, drains, deaths."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from hone.documents.status import Failure
from hone.errors import NotFound
from service import commands
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import claims, jobs, leases, workers
from service.persistence.database import Database
from service.persistence.tables import Outbox, Worker

Make = Callable[..., JobSpec]


@pytest.fixture
def worker(database: Database) -> str:
    with database.transaction() as session:
        workers.beat(session, "worker-1", workers.Process("host", 1, 1, ["cpu"]), workers.Host([], 5, {"torch": "2"}))
    return "worker-1"


def claimed(database: Database, spec: JobSpec) -> str:
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester("ada"), spec, []).id
        assert claims.claim(session, "worker-1", 0, 30) is not None
        return job_id


def fall_silent(database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(Worker).values(beat_at=func.clock_timestamp()))


def names(runs_of: dict[str, list[workers.Run]]) -> dict[str, list[tuple[str, int]]]:
    return {worker: [(run.id, run.attempt) for run in held] for worker, held in runs_of.items()}


def test_a_worker_tells_of_its_machine_and_of_what_it_runs(database: Database, worker: str, spec: Make) -> None:
    job_id = claimed(database, spec())
    with database.transaction() as session:
        (row,) = workers.alive(session, 30)
        assert (row.memory_bytes, row.versions, row.draining) == (5, {"torch": "2"}, False)
        assert names(workers.runs(session, [row])) == {worker: [(job_id, 1)]}


def test_a_beat_does_not_end_a_drain(database: Database, worker: str) -> None:
    with database.transaction() as session:
        assert workers.set_draining(session, worker, draining=True).draining
    with database.transaction() as session:
        workers.beat(session, worker, workers.Process("host", 1, 1, ["cpu"]))
        assert workers.is_draining(session, worker)
        assert not workers.is_draining(session, "unheard-of")


def test_a_worker_that_may_claim_again_gets_a_doorbell(database: Database, worker: str) -> None:
    for draining, bells in ((True, 0), (False, 1), (False, 1)):
        with database.transaction() as session:
            workers.set_draining(session, worker, draining=draining)
        with database.transaction() as session:
            assert session.scalar(select(func.count()).select_from(Outbox)) == bells


def test_a_drain_waits_for_a_claim_that_has_begun(database: Database, worker: str) -> None:
    with database.transaction() as claim:
        assert not workers.is_draining(claim, worker)
        with database.transaction() as claiming:
            query = select(Worker).where(Worker.id == worker).with_for_update(skip_locked=True)
            assert claiming.scalar(query) is None


def test_draining_a_worker_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(NotFound, match="no worker nobody"), database.transaction() as session:
        workers.set_draining(session, "nobody", draining=True)


def test_of_a_dead_worker_one_sees_what_it_ran_last(database: Database, worker: str, spec: Make) -> None:
    finished, released, lost = (claimed(database, spec()) for _ in range(3))
    with database.transaction() as session:
        jobs.move(session, leases.hold(session, finished, 1, 30), JobEvent.FINISH)
        jobs.move(session, leases.hold(session, released, 1, 30), JobEvent.RELEASE)
    fall_silent(database)
    with database.transaction() as session:
        leases.lose(session, leases.hold(session, lost, 1, 30), Failure(category="lost", message="silence"))
    with database.transaction() as session:
        (dead,) = workers.remembered(session)
        assert names(workers.last_runs(session, [dead])) == {worker: [(lost, 1)]}


def test_the_dead_are_remembered_for_an_hour(database: Database, worker: str) -> None:
    with database.transaction() as session:
        session.execute(update(Worker).values(beat_at=datetime.now(UTC) - timedelta(minutes=59)))
    with database.transaction() as session:
        assert workers.alive(session, 30) == [] and len(workers.remembered(session)) == 1
        session.execute(update(Worker).values(beat_at=datetime.now(UTC) - timedelta(minutes=61)))
    with database.transaction() as session:
        assert workers.remembered(session) == []
