"""A report whose transaction happened, though its worker was told that it failed, is not written twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from service import commands, failpoints
from service.domain.errors import LeaseLost, Unavailable
from service.domain.jobs import Failure, JobStatus
from service.domain.specs import JobSpec
from service.persistence import claims, leases
from service.persistence.database import Database
from service.persistence.tables import Event, Job
from service.storage import Storage
from worker.assignment import Claim
from worker.reporter import Reporter
from worker.trainer_process import Heard
from worker.training.events import Sample, Sampled, Step

Make = Callable[..., JobSpec]
HEARD: list[Heard] = [
    Step(step=1, metrics={"train/loss": 1.0}),
    Sampled(step=1, samples=[Sample(split="train", prompt="1+1", response="2", tokens=1, truncated=False)]),
]


@pytest.fixture
def reporter(database: Database, spec: Make, tmp_path: Path) -> Reporter:
    with database.transaction() as session:
        commands.submit(session, commands.Requester("ada"), spec(), [])
        job = claims.claim(session, "worker-1", 0, lease_seconds=30)
        assert job is not None
        claim = Claim(job.id, job.attempt, job.spec, job.owner, [])
    storage = Storage(str(tmp_path / "storage"), tmp_path / "cache")
    return Reporter(claim, database, storage, tmp_path / "scratch", lease_seconds=30)


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Arms failpoints of this very process."""
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path))
    return lambda plan: monkeypatch.setattr(failpoints, "_rules", failpoints.parse(plan))


def told(database: Database) -> dict[str, int]:
    with database.transaction() as session:
        query = select(Event.kind, func.count()).where(Event.step.is_not(None)).group_by(Event.kind)
        return {row.kind: row[1] for row in session.execute(query)}


def tries(reporter: Reporter, heard: list[Heard]) -> int:
    """Until it is written, as the supervisor does."""
    for number in range(1, 10):
        try:
            reporter.write(heard)
            return number
        except Unavailable:
            continue
    raise AssertionError("it was never written")


@pytest.mark.parametrize("plan", ["report.committed=timeout*3", "report.written=error*3"])
def test_a_report_that_is_tried_again_is_written_once(
    database: Database, reporter: Reporter, arm: Callable[[str], None], plan: str
) -> None:
    arm(plan)
    assert tries(reporter, HEARD) == 4
    assert told(database) == {"metrics": 1, "sample": 1}
    reporter.write([Step(step=2, metrics={"train/loss": 0.5})])
    assert told(database) == {"metrics": 2, "sample": 1}


def test_a_report_that_failed_after_one_that_did_not_is_written_once(
    database: Database, reporter: Reporter, arm: Callable[[str], None]
) -> None:
    arm("report.committed=timeout;report.written=error*2@1")  # done; not done, twice; done
    assert tries(reporter, HEARD) == 4
    assert told(database) == {"metrics": 1, "sample": 1}


def test_nothing_of_a_report_is_written_for_a_job_that_was_given_up(database: Database, reporter: Reporter) -> None:
    with database.transaction() as session:
        job = session.scalars(select(Job)).one()
        leases.lose(session, job, Failure(category="lost", message="silence"))
        assert job.status == JobStatus.QUEUED
    with pytest.raises(LeaseLost):
        reporter.write(HEARD)
    assert told(database) == {}
