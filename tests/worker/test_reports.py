"""A report whose transaction was committed, although the worker got an error, is not written twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from hone.documents.status import Failure, JobStatus
from hone.errors import LeaseLost, Unavailable
from service import failpoints
from service.domain.specs import JobSpec
from service.persistence import leases
from service.persistence.database import Database
from service.persistence.tables import Event, Job
from worker.protocol import Failed, Loaded, LoadedModel, Sampled, SampledResponse, Step, Token
from worker.reporter import Reporter
from worker.trainer_process import TrainerOutput

Make = Callable[..., JobSpec]
REPORT: list[TrainerOutput] = [
    Step(step=1, metrics={"train/loss": 1.0}),
    Sampled(step=1, samples=[SampledResponse(split="train", prompt="1+1", response="2", tokens=1, truncated=False)]),
]


@pytest.fixture
def reporter(bench: Any, spec: Make) -> Reporter:
    return Reporter(bench.attempt(bench.claim(spec())))


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Arms failpoints of this very process."""
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path))
    return lambda plan: monkeypatch.setattr(failpoints, "_faults", failpoints.parse(plan))


def events_of_steps(database: Database) -> dict[str, int]:
    with database.transaction() as session:
        query = select(Event.kind, func.count()).where(Event.step.is_not(None)).group_by(Event.kind)
        return {row.kind: row[1] for row in session.execute(query)}


def tries(reporter: Reporter, outputs: list[TrainerOutput]) -> int:
    """Retry until it is written, as the supervisor does; the number of tries."""
    for number in range(1, 10):
        try:
            reporter.write(outputs)
            return number
        except Unavailable:
            continue
    raise AssertionError("it was never written")


def test_a_models_tokens_are_written_whatever_they_contain(database: Database, reporter: Reporter) -> None:
    model = LoadedModel(
        architecture="A",
        parameters=1,
        dtype="float32",
        tokens=2,
        embedding_rows=2,
        special_tokens={"eos_token": "\x00"},
        stops=[Token(id=0, text="\x00")],
        chat_template=False,
        context=None,
    )
    reporter.write([Loaded(role="policy", name="m", model=model)])
    with database.transaction() as session:
        (written,) = session.scalars(select(Event).where(Event.kind == "loaded"))
        assert written.data["model"]["stops"] == [{"id": 0, "text": "\ufffd"}]


def test_a_failure_may_quote_a_character_that_the_database_cannot_hold(database: Database, reporter: Reporter) -> None:
    failed = Failed(category="user", message="dataset, row 1 has 'a\x00b'", hint="look at \x00")
    assert reporter.write([failed]) == JobStatus.FAILED
    with database.transaction() as session:
        assert session.scalars(select(Job.failure)).one()["message"] == "dataset, row 1 has 'a\ufffdb'"


@pytest.mark.parametrize("plan", ["report.committed=timeout*3", "report.written=error*3"])
def test_a_report_that_is_tried_again_is_written_once(
    database: Database, reporter: Reporter, arm: Callable[[str], None], plan: str
) -> None:
    arm(plan)
    assert tries(reporter, REPORT) == 4
    assert events_of_steps(database) == {"metrics": 1, "sample": 1}
    reporter.write([Step(step=2, metrics={"train/loss": 0.5})])
    assert events_of_steps(database) == {"metrics": 2, "sample": 1}


def test_a_report_that_failed_after_one_that_did_not_is_written_once(
    database: Database, reporter: Reporter, arm: Callable[[str], None]
) -> None:
    arm("report.committed=timeout;report.written=error*2@1")  # done; not done, twice; done
    assert tries(reporter, REPORT) == 4
    assert events_of_steps(database) == {"metrics": 1, "sample": 1}


def test_nothing_of_a_report_is_written_for_a_job_that_was_given_up(database: Database, reporter: Reporter) -> None:
    with database.transaction() as session:
        job = session.scalars(select(Job)).one()
        leases.lose(session, job, Failure(category="lost", message="silence"))
        assert job.status == JobStatus.QUEUED
    with pytest.raises(LeaseLost):
        reporter.write(REPORT)
    assert events_of_steps(database) == {}
