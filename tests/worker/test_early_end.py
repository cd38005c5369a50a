"""A job that is done before its last step, as its rows tell it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hone.documents.status import JobStatus, Progress
from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from service.persistence import checkpoints, events
from service.persistence.database import Database
from service.persistence.tables import Job
from worker.protocol import Evaluated, Finished, Saved, Started, Step, Stopped, Warned
from worker.reporter import Reporter
from worker.trainer_process import TrainerOutput

Make = Callable[..., JobSpec]
REASON = "ended early after step 4: eval/loss was best, 1.5, at step 2, and no better in the 2 evaluations since"


def _reporter(bench: Any, spec: JobSpec) -> Reporter:
    return Reporter(bench.attempt(bench.claim(spec)))


def _started_and_steps(steps: int) -> list[TrainerOutput]:
    started = Started(total_steps=10, resumed_step=0, parameters=1, device="cpu", precision="fp32")
    metrics = {"train/loss": 1.0, "train/tokens_per_second": 7.0}
    return [started, *(Step(step=step, metrics=metrics) for step in range(1, steps + 1))]


def _saved(tmp_path: Path, step: int) -> Saved:
    folder = tmp_path / "scratch" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"step": step, "files": []}))
    return Saved(step=step, directory=str(folder), metrics={"eval/loss": 2.0})


def test_it_has_succeeded_and_is_done_at_the_step_that_it_came_to(
    bench: Any, database: Database, spec: Make, tmp_path: Path
) -> None:
    reporter = _reporter(bench, spec(steps=10))
    reporter.write(_started_and_steps(4))
    evaluated = Evaluated(step=4, metrics={"eval/loss": 2.0})
    status = reporter.write(
        [evaluated, Warned(note=Note("ended_early", REASON).at(4)), _saved(tmp_path, 4), Finished()]
    )
    assert status == JobStatus.SUCCEEDED and reporter.ended
    with database.transaction() as session:
        job = session.scalars(select(Job)).one()
        progress = Progress.model_validate(job.progress)
        assert (progress.step, progress.total_steps, progress.percent) == (4, 10, 100.0)
        assert (progress.phase, progress.eta_seconds) == ("done", None)
        assert job.metrics["eval/loss"] == 2.0
        newest = checkpoints.choose(session, job.id, "latest")
        assert newest is not None and newest.step == 4


def test_its_log_says_why_before_it_says_that_it_is_done(
    bench: Any, database: Database, spec: Make, tmp_path: Path
) -> None:
    reporter = _reporter(bench, spec(steps=10))
    reporter.write([*_started_and_steps(4), Warned(note=Note("ended_early", REASON).at(4)), Finished()])
    with database.transaction() as session:
        written = events.page(session, session.scalars(select(Job.id)).one(), 0, 100)
    assert written[-3].data == {"stream": "hone", "line": REASON, "level": "info"}
    assert written[-2].kind == "note" and written[-2].data["message"] == REASON
    assert written[-1].kind == "status" and written[-1].data["status"] == "succeeded"


def test_a_job_that_is_stopped_keeps_the_share_that_it_has_done(
    bench: Any, database: Database, spec: Make, tmp_path: Path
) -> None:
    reporter = _reporter(bench, spec(steps=10))
    reporter.write([*_started_and_steps(4), Stopped(step=4)])
    with database.transaction() as session:
        progress = Progress.model_validate(session.scalars(select(Job)).one().progress)
    assert (progress.step, progress.percent, progress.phase) == (4, 40.0, "stopped")
