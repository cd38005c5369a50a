"""What is forgotten, and what never is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, insert, select, update

from hone.documents.webhook_events import ENDS
from service import commands
from service.dispatcher.retention import JOBS, Retention
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, deliveries, events, jobs, keys, leases, metrics, webhooks, workers
from service.persistence.database import Database
from service.persistence.tables import Checkpoint, Delivery, Event, Job, LoginLink, Metric, Sample, Worker

Make = Callable[..., JobSpec]
DAYS = 90.0


def ran(database: Database, spec: JobSpec, days_ago: float | None) -> str:
    """A job with a log, a sample, a metric and a checkpoint, which ended so many days ago (None: it runs)."""
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester("ada"), spec, []).id
        assert claims.claim(session, "worker-1", 0, 30) is not None
        job = leases.hold(session, job_id, 1, 30)
        for line in "abc":
            events.add(session, job, "log", {"line": line})
        events.add(session, job, "metrics", {"step": 1}, 1)
        metrics.put(session, job_id, 1, {"train/loss": 1.0})
        checkpoints.put(session, job, 1, "somewhere", [], {})
        session.add(
            Sample(job_id=job_id, step=1, split="train", prompt="", response="", rewards={}, tokens=1, truncated=False)
        )
        if days_ago is not None:
            jobs.move(session, job, JobEvent.FINISH)
            session.flush()
            then = datetime.now(UTC) - timedelta(days=days_ago)
            session.execute(update(Job).where(Job.id == job_id).values(finished_at=then))
        return job_id


def kinds(database: Database, job_id: str) -> list[str]:
    with database.transaction() as session:
        return [event.kind for event in events.page(session, job_id, 0, 100)]


def test_logs_samples_and_metric_events_of_old_jobs_go_and_what_tells_of_the_job_stays(
    database: Database, spec: Make
) -> None:
    old, young, running = ran(database, spec(), 91), ran(database, spec(), 89), ran(database, spec(), None)
    whole = {job_id: kinds(database, job_id) for job_id in (young, running)}
    Retention(database, DAYS).tidy()
    assert kinds(database, old) and set(kinds(database, old)) <= {"status", "checkpoint"}
    assert {job_id: kinds(database, job_id) for job_id in (young, running)} == whole
    with database.transaction() as session:
        for table, count in ((Metric, 3), (Checkpoint, 3), (Sample, 2)):
            assert session.scalar(select(func.count()).select_from(table)) == count


def test_a_cursor_into_what_was_removed_goes_on_with_what_there_is(database: Database, spec: Make) -> None:
    old = ran(database, spec(), 91)
    Retention(database, DAYS).tidy()
    with database.transaction() as session:
        assert [event.kind for event in events.page(session, old, 3, 100)] == ["status"]


def test_many_old_jobs_take_several_rounds_and_a_long_log_too(database: Database, spec: Make) -> None:
    ids = [ran(database, spec(), 91 + n) for n in range(JOBS + 1)]
    with database.transaction() as session:
        rows = [
            {"job_id": ids[-1], "seq": 1000 + n, "kind": "log", "attempt": 1, "data": {"line": ""}} for n in range(2500)
        ]
        session.execute(insert(Event), rows)
    duty = Retention(database, DAYS)
    for _ in range(4):
        duty.tidy()
    assert not [job_id for job_id in ids if "log" in kinds(database, job_id)]


def test_by_default_nothing_of_a_job_is_ever_removed(database: Database, spec: Make) -> None:
    old = ran(database, spec(), 5000)
    whole = kinds(database, old)
    Retention(database, None).tidy()
    assert kinds(database, old) == whole


def test_deliveries_of_a_month_ago_go_with_their_attempts_unless_they_are_still_tried(
    database: Database,
) -> None:
    with database.transaction() as session:
        webhook = webhooks.add(session, "ada", "http://127.0.0.1:1/", ENDS)
        done, waiting, fresh = (deliveries.add_test(session, webhook) for _ in range(3))
        for delivery in (done, waiting):
            delivery.created_at = datetime.now(UTC) - timedelta(days=31)
        for delivery in (done, fresh):
            delivery.next_at = None
            delivery.attempt_log = [{"attempt": 1}]
        kept = {waiting.id, fresh.id}
    Retention(database, None).tidy()
    with database.transaction() as session:
        assert set(session.scalars(select(Delivery.id))) == kept


def test_expired_links_and_dead_workers_are_forgotten(database: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    with database.transaction() as session:
        keys.add_link(session, "ada", "admin", long_ago)
        keys.add_link(session, "ada", "admin", datetime.now(UTC) + timedelta(minutes=1))
        for name in ("dead", "alive"):
            workers.beat(session, name, workers.Process("host", 1, 1, ["cpu"]))
        session.execute(update(Worker).where(Worker.id == "dead").values(beat_at=long_ago))
    Retention(database, None).tidy()
    with database.transaction() as session:
        assert session.scalars(select(Worker.id)).all() == ["alive"]
        assert session.scalar(select(func.count()).select_from(LoginLink)) == 1
