"""The dispatcher does what is due, whichever server is away."""

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from rig import procs
from sqlalchemy import func, select, text, update

from hone.documents.status import Failure, JobStatus
from hone.errors import Unavailable
from service import commands
from service.dispatcher.recovery import Recovery
from service.dispatcher.rounds import Dispatcher, run, send_doorbells
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.messaging import broker
from service.persistence import claims, jobs, workers
from service.persistence.database import Database
from service.persistence.leadership import Leadership, has_healthy_leader
from service.persistence.migrations import upgrade
from service.persistence.tables import Job, Outbox

Make = Callable[..., JobSpec]
NOBODY = "redis://127.0.0.1:1/0"


def submit(database: Database, spec: JobSpec) -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester("ada"), spec, []).id


def status(database: Database, job_id: str) -> JobStatus:
    with database.transaction() as session:
        return JobStatus(jobs.get(session, job_id, "ada").status)


def one_round(dispatcher: Dispatcher) -> None:
    """The process's own loop, stopped when its first round is over."""
    stop = threading.Event()
    run(dispatcher, wait=stop.set, stop=stop, report_health=lambda healthy: None, leads=lambda: True)


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
    Dispatcher(database, broker.celery(embedded.redis_url)).doorbells.send()
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_each_worker_gets_one_doorbell_however_many_jobs_come(
    database: Database, spec: Make, embedded: Servers
) -> None:
    redis = Redis.from_url(embedded.redis_url)
    redis.delete("hone")
    with database.transaction() as session:
        for name in ("worker-1", "worker-2"):
            workers.beat(session, name, workers.Process("host", 1, 1, ["cpu"]))
    for _ in range(5):
        submit(database, spec())
    Dispatcher(database, broker.celery(embedded.redis_url)).doorbells.send()
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0
    assert redis.llen("hone") == 2


def test_without_redis_doorbells_wait_but_lost_jobs_are_recovered(database: Database, silent: str) -> None:
    one_round(Dispatcher(database, broker.celery(NOBODY)))
    assert status(database, silent) == JobStatus.QUEUED
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 2  # of the submit and of the recovery


def test_a_redis_that_hangs_keeps_no_duty_waiting_and_holds_no_transaction(
    database: Database, embedded: Servers, silent: str
) -> None:
    dispatcher = Dispatcher(database, broker.celery(embedded.redis_url, send_seconds=0.5))
    stop, failed = threading.Event(), threading.Event()

    def note(healthy: bool) -> None:
        (stop if healthy else failed).set()

    loop = functools.partial(send_doorbells, dispatcher.doorbells, wait=lambda: None, stop=stop, leads=lambda: True)
    hanging = procs.descendants(os.getpid(), embedded.redis_url.removeprefix("unix://").partition("?")[0])
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    try:
        doorbells = threading.Thread(target=functools.partial(loop, report_health=note))
        doorbells.start()
        one_round(dispatcher)
        assert status(database, silent) == JobStatus.QUEUED
        assert failed.wait(30) and not stop.is_set()
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    doorbells.join(60)
    assert stop.is_set()  # once Redis was back, the doorbells were sent
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_no_lease_is_judged_before_a_database_that_was_away_has_been_there_for_a_lease(
    database: Database, silent: str
) -> None:
    recovery = Recovery(database, lease_seconds=1, outage_seconds=0.5)
    recovery.database_answered()
    time.sleep(0.6)  # without an answer
    recovery.database_answered()
    recovery.return_lost_jobs()
    assert status(database, silent) == JobStatus.RUNNING
    until = time.monotonic() + 1
    while time.monotonic() < until:
        recovery.database_answered()
        time.sleep(0.02)
    recovery.return_lost_jobs()
    assert status(database, silent) == JobStatus.QUEUED


def test_no_lease_is_judged_before_the_server_of_the_database_has_run_for_a_lease(
    database: Database, silent: str
) -> None:
    Recovery(database, lease_seconds=10**6).return_lost_jobs()
    assert status(database, silent) == JobStatus.RUNNING


def test_without_redis_jobs_that_can_never_start_fail(database: Database, spec: Make) -> None:
    parent = submit(database, spec())
    child = submit(database, spec(depends_on=[parent]))
    with database.transaction() as session:
        taken = claims.claim(session, "worker-1", 0, lease_seconds=30)
        assert taken is not None
        job = taken.job
        jobs.fail(session, job, Failure(category="user", message="bad rows"))
    one_round(Dispatcher(database, broker.celery(NOBODY)))
    assert status(database, child) == JobStatus.FAILED


@pytest.fixture
def silence() -> int:
    """The seconds that a leader may be silent."""
    return 60


@pytest.fixture
def two(embedded: Servers, silence: int) -> Iterator[tuple[Leadership, Leadership]]:
    """Of two dispatchers."""
    leaderships = [Leadership(embedded.database_url, silence_seconds=silence) for _ in range(2)]
    yield leaderships[0], leaderships[1]
    for leadership in leaderships:
        leadership.close()


def end_sessions_that_hold_locks(database: Database) -> None:
    with database.transaction() as session:
        ended = "SELECT pg_terminate_backend(pid, 2000) FROM pg_locks WHERE locktype = 'advisory'"
        assert session.scalar(text(ended))


def wait_until_it_leads(leadership: Leadership) -> None:
    deadline = time.monotonic() + 60
    while not leadership():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_of_two_leads_and_the_other_follows_when_it_leaves(two: tuple[Leadership, Leadership]) -> None:
    first, second = two
    assert first() and not second() and first()
    first.close()
    wait_until_it_leads(second)
    assert not first()


def test_the_lead_is_free_as_soon_as_its_holder_has_closed(two: tuple[Leadership, Leadership]) -> None:
    first, second = two
    for _ in range(100):
        assert first() and not second()
        first.close()
        first, second = second, first


def test_a_leader_whose_connection_ends_stops_before_it_acts_again(
    two: tuple[Leadership, Leadership], database: Database
) -> None:
    first, second = two
    assert first()
    end_sessions_that_hold_locks(database)
    with pytest.raises(Unavailable):
        first()
    assert second() and not first()


@pytest.mark.parametrize("silence", [2])
def test_a_silent_leader_loses_the_lead_to_one_that_asks(two: tuple[Leadership, Leadership]) -> None:
    first, second = two
    assert first()
    wait_until_it_leads(second)
    with pytest.raises(Unavailable):
        first()
    assert not first()


@pytest.mark.parametrize("silence", [2])
def test_a_leader_that_keeps_asking_keeps_the_lead(two: tuple[Leadership, Leadership]) -> None:
    first, second = two
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert first() and not second()
        time.sleep(0.2)


def test_a_leader_whose_main_loop_hangs_gives_the_lead_to_one_that_acts(embedded: Servers) -> None:
    hangs, acts = (Leadership(embedded.database_url, act_seconds=0.3) for _ in range(2))
    try:
        assert hangs(acts=True) and hangs() and not acts(acts=True)
        time.sleep(0.4)
        assert not hangs()  # as its webhook thread asks
        assert acts(acts=True) and not hangs()
        time.sleep(0.4)
        assert not acts() and hangs(acts=True)  # its main loop goes on
    finally:
        hangs.close()
        acts.close()


def test_the_schema_can_be_migrated_while_somebody_leads(two: tuple[Leadership, Leadership], embedded: Servers) -> None:
    assert two[0]()
    upgrade(embedded.database_url)


def test_a_standby_does_nothing_and_reports_that_it_is_healthy(database: Database, silent: str) -> None:
    stop, reports = threading.Event(), list[bool]()
    dispatcher = Dispatcher(database, broker.celery(NOBODY))
    run(dispatcher, wait=stop.set, stop=stop, report_health=reports.append, leads=lambda: False)
    assert status(database, silent) == JobStatus.RUNNING and reports == [True]


def test_a_duty_that_fails_is_reported_and_the_others_are_done(database: Database, silent: str) -> None:
    def fall() -> None:
        raise RuntimeError("a row of tomorrow")

    stop, reports = threading.Event(), list[bool]()
    dispatcher = Dispatcher(database, broker.celery(NOBODY), [fall])
    run(dispatcher, wait=stop.set, stop=stop, report_health=reports.append, leads=lambda: True)
    assert status(database, silent) == JobStatus.QUEUED and reports == [False]


def test_a_leader_is_healthy_while_it_says_so_and_leads(two: tuple[Leadership, Leadership], database: Database) -> None:
    def healthy() -> bool:
        with database.transaction() as session:
            return has_healthy_leader(session)

    leader, standby = two
    assert leader() and not standby() and not healthy()
    standby.report(healthy=True)
    assert not healthy()
    leader.report(healthy=True)
    assert healthy()
    leader.report(healthy=False)
    standby.report(healthy=True)
    assert not healthy()
    leader.report(healthy=True)
    leader.close()
    assert not healthy()


def test_two_that_both_believe_to_lead_recover_a_job_once(database: Database, silent: str) -> None:
    dispatchers = [Dispatcher(database, broker.celery(NOBODY)) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        for dispatcher in dispatchers * 8:
            threads.submit(dispatcher.recovery.return_lost_jobs)
    with database.transaction() as session:
        job = jobs.get(session, silent, "ada")
        assert job.status == JobStatus.QUEUED and job.restarts == 1


def free_rows(database: Database) -> int:
    """Messages that nobody has locked."""
    with database.transaction() as session:
        return len(session.scalars(select(Outbox).with_for_update(skip_locked=True)).all())


def test_a_process_stopped_within_a_transaction_does_not_keep_its_rows(embedded: Servers, database: Database) -> None:
    stopped = Database(embedded.database_url, stall_seconds=0.2)
    with database.transaction() as session:
        session.add(Outbox(topic="hone.train", payload={}))
    with pytest.raises(Unavailable), stopped.transaction() as session:
        session.execute(select(Outbox).with_for_update())
        deadline = time.monotonic() + 60
        while not free_rows(database):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    stopped.close()
