"""The dispatcher does what is due, whichever server is away."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from service import broker, commands, dispatcher
from service.dispatcher import Dispatcher
from service.domain.jobs import Failure, JobStatus
from service.domain.specs import JobSpec
from service.embedded import Servers
from service.persistence import claims, jobs
from service.persistence.database import Database
from service.persistence.tables import Job, Outbox

Make = Callable[..., JobSpec]
NOBODY = "redis://127.0.0.1:1/0"


def submit(database: Database, spec: JobSpec) -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester("ada"), spec, []).id


def status(database: Database, job_id: str) -> JobStatus:
    with database.transaction() as session:
        return JobStatus(jobs.get(session, job_id, "ada").status)


def one_round(made: Dispatcher) -> None:
    """The process's own loop, stopped when its first round is over."""
    stop = threading.Event()
    dispatcher.run(made, doze=stop.set, stop=stop, beat=lambda: None)


@pytest.fixture
def silent(database: Database, spec: Make) -> str:
    """A job whose worker has not been heard of for longer than its lease."""
    job_id = submit(database, spec())
    with database.transaction() as session:
        claims.claim(session, "worker-1", 0, lease_seconds=30)
        session.execute(update(Job).values(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    return job_id


def test_what_the_outbox_holds_is_sent_once(database: Database, spec: Make, embedded: Servers) -> None:
    submit(database, spec())
    one_round(Dispatcher(database, broker.celery(embedded.redis_url)))
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_without_redis_bells_wait_but_lost_jobs_are_recovered(database: Database, silent: str) -> None:
    one_round(Dispatcher(database, broker.celery(NOBODY)))
    assert status(database, silent) == JobStatus.QUEUED
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 2  # of the submit and of the recovery


def test_without_redis_jobs_that_can_never_start_are_ended(database: Database, spec: Make) -> None:
    parent = submit(database, spec())
    child = submit(database, spec(depends_on=[parent]))
    with database.transaction() as session:
        job = claims.claim(session, "worker-1", 0, lease_seconds=30)
        assert job is not None
        jobs.fail(session, job, Failure(category="user", message="bad rows"))
    one_round(Dispatcher(database, broker.celery(NOBODY)))
    assert status(database, child) == JobStatus.FAILED
