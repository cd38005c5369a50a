"""What a job left behind, as plain values that can be compared with those of another run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hone.documents.status import JobStatus
from service.domain.jobs import TERMINAL
from service.persistence.database import Database
from service.persistence.tables import Checkpoint, Event, Job, Metric, Sample

Values = dict[tuple[int, str], float]


@dataclass
class Told:
    """One event."""

    seq: int
    kind: str
    attempt: int
    step: int | None
    data: dict[str, Any]


@dataclass
class Outcome:
    """A job's rows."""

    job_id: str
    status: JobStatus
    attempt: int
    failure: dict[str, Any] | None
    events: list[Told]
    metrics: Values
    samples: list[tuple[Any, ...]]
    checkpoints: dict[int, str]
    """The key of each step's."""
    weights: dict[int, str]
    """sha256 of each step's model.safetensors, as its row says."""

    def kind(self, kind: str) -> list[Told]:
        """The events of one kind, in their order."""
        return [event for event in self.events if event.kind == kind]


def read(database: Database, job_id: str) -> Outcome:
    """All of one job, at one moment."""
    with database.transaction() as session:
        job = session.get_one(Job, job_id)
        events = session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.seq))
        metrics = session.scalars(select(Metric).where(Metric.job_id == job_id))
        samples = session.scalars(select(Sample).where(Sample.job_id == job_id).order_by(Sample.id))
        checkpoints = list(session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id)))
        return Outcome(
            job_id,
            JobStatus(job.status),
            job.attempt,
            job.failure,
            [Told(row.seq, row.kind, row.attempt, row.step, row.data) for row in events],
            {(row.step, row.name): row.value for row in metrics if comparable(row.name)},
            [(row.step, row.split, row.prompt, row.response, row.reward, row.tokens) for row in samples],
            {row.step: row.storage_key for row in checkpoints},
            {row.step: _hash(row.files) for row in checkpoints},
        )


def _hash(files: list[dict[str, Any]]) -> str:
    return str(next(file["sha256"] for file in files if file["name"] == "model.safetensors"))


def comparable(metric: str) -> bool:
    """Whether it is a function of the spec; times are not."""
    return not metric.startswith("time/") and not metric.endswith("tokens_per_second")


def ended(database: Database, job_ids: list[str]) -> set[str]:
    """Those that are terminal."""
    with database.transaction() as session:
        return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids), Job.status.in_(TERMINAL))))


def paused(database: Database, job_ids: list[str]) -> list[str]:
    """Those that somebody has to resume."""
    with database.transaction() as session:
        return list(session.scalars(select(Job.id).where(Job.id.in_(job_ids), Job.status == JobStatus.PAUSED)))


def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
