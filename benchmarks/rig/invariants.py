"""What must be true of every job, whatever was broken while it ran. Each violation is a sentence."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import select

from hone.documents.status import JobStatus
from rig import procs
from rig.outcomes import Outcome, Told, comparable, sha256
from rig.receiver import Receiver
from service.domain.jobs import TERMINAL
from service.persistence.database import Database
from service.persistence.tables import Checkpoint, Job


def of_job(job: Outcome, reference: Outcome, storage: Path, endings: Sequence[JobStatus]) -> list[str]:
    """All that is wrong with one job; against its undisturbed twin when it succeeded."""
    wrong = [*_life(job, endings)]
    if job.status == JobStatus.SUCCEEDED:
        wrong += [*_series(job, reference), *_samples(job, reference), *_checkpoints(job, reference, storage)]
    return [f"{job.job_id}: {sentence}" for sentence in wrong]


def _life(job: Outcome, endings: Sequence[JobStatus]) -> Iterator[str]:
    """Ends once, as it may; attempts never go back."""
    if job.status not in endings:
        yield f"is {job.status}, not {' or '.join(endings)}: {job.failure}"
    ends = [event for event in job.kind("status") if event.data["status"] in TERMINAL]
    if len(ends) != 1:
        yield f"ended {len(ends)} times: {[event.data for event in ends]}"
    elif job.events[-1].seq != ends[0].seq:
        yield f"went on after its end: {[event for event in job.events if event.seq > ends[0].seq]}"
    attempts = [event.attempt for event in job.events]
    if attempts != sorted(attempts):
        yield f"an earlier attempt wrote after a later one: {attempts}"
    if max(attempts, default=0) > job.attempt:
        yield f"events of attempt {max(attempts)}, but it has had {job.attempt}"


def _series(job: Outcome, reference: Outcome) -> Iterator[str]:
    """Value by value those of the reference, in the rows and in the events."""
    if job.metrics != reference.metrics:
        differing = sorted(set(job.metrics.items()) ^ set(reference.metrics.items()))
        yield f"{len(differing)} values differ from the reference: {differing[:6]}"
    told, expected = _told_values(job), _told_values(reference)
    if told != expected:
        yield f"metric events differ from the reference: {sorted((told - expected) + (expected - told))[:6]}"
    order = [event.step for event in job.kind("metrics") if event.step is not None]
    if order != sorted(order):
        yield f"metric events are out of order: {order}"


def _told_values(job: Outcome) -> Counter[tuple[int, str, float]]:
    return Counter(
        (event.step or 0, name, value)
        for event in job.kind("metrics")
        for name, value in event.data["metrics"].items()
        if comparable(name)
    )


def _samples(job: Outcome, reference: Outcome) -> Iterator[str]:
    if job.samples != reference.samples:
        yield f"{len(job.samples)} samples, which are not the {len(reference.samples)} of the reference"
    for kind in ("sample", "preview"):
        told, expected = _steps(job.kind(kind)), _steps(reference.kind(kind))
        if told != expected:
            yield f"{kind} events of steps {told}, not {expected}"
    saved, expected = _steps(job.kind("checkpoint")), _steps(reference.kind("checkpoint"))
    if len(set(saved)) != len(saved) or set(expected) - set(saved):  # a pause saves once more
        yield f"checkpoint events of steps {saved}, not {expected}"


def _steps(events: list[Told]) -> list[int | None]:
    return [event.step for event in events]


def _checkpoints(job: Outcome, reference: Outcome, storage: Path) -> Iterator[str]:
    """Bit-equal weights, by the rows and by the files."""
    last = max(reference.weights)
    both = reference.weights.keys() & job.weights.keys()
    if last not in both or any(job.weights[step] != reference.weights[step] for step in both):
        yield f"weights {job.weights} are not the reference's {reference.weights}"
    for step, key in job.checkpoints.items():
        file = storage / key / "model.safetensors"
        if not file.is_file():
            yield f"the checkpoint of step {step} has no file {file}"
        elif sha256(file) != job.weights[step]:
            yield f"the file of step {step} is not what its row says"


def of_database(database: Database, accepted: dict[str, str] | None = None) -> list[str]:
    """No job twice, none lost."""
    with database.transaction() as session:
        keys = Counter(session.scalars(select(Job.idempotency_key)))
        there = set(session.scalars(select(Job.id)))
    wrong = [f"{count} jobs for Idempotency-Key {key}" for key, count in keys.items() if count > 1]
    wrong += [f"{job_id} was accepted and is not there" for job_id in accepted or {} if job_id not in there]
    return wrong


def orphan_files(database: Database, data: Path, storage: Path) -> list[str]:
    """Checkpoints that no row names, half moves, and folders of attempts that are over."""
    with database.transaction() as session:
        named = set(session.scalars(select(Checkpoint.storage_key)))
    stored = {str(path.relative_to(storage)) for path in storage.glob("checkpoints/*/*")}
    wrong = [f"orphan in the storage: {key}" for key in sorted(stored - named)]
    return wrong + [f"orphan in the scratch space: {path.name}" for path in sorted(data.glob("work/*/attempt-*"))]


def orphan_processes(data: Path, workers: list[int]) -> list[str]:
    """Trainers whose worker is not there, and reward processes without a trainer."""
    trainers = procs.of_service(data, "-m worker.trainer")  # and the process that forks them
    rewards = procs.of_service(data, "rewards.server")
    wrong = [f"orphan trainer {pid}" for pid in trainers if procs.parent(pid) not in (*workers, *trainers)]
    return wrong + [f"orphan reward process {pid}" for pid in rewards if procs.parent(pid) not in trainers]


def untold(receiver: Receiver, ended: dict[str, JobStatus]) -> list[str]:
    """Ends that no webhook has told of, and messages that were not ours."""
    missing = [
        f"{job_id}: no webhook has told that it has {status}"
        for job_id, status in ended.items()
        if not receiver.told[job_id, f"fine_tuning.job.{status}"]
    ]
    return missing + [f"a webhook with a wrong signature: {message}" for message in receiver.forged]
