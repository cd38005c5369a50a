"""From a claimed row to what its trainer must know: everything as local paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.datasets import FileData
from service.domain.errors import Invalid
from service.domain.jobs import Failure, FailureCategory
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL, JobSpec
from service.failpoints import failpoint
from service.persistence import checkpoints, files, jobs
from service.persistence.database import Database, Session
from service.storage import Storage
from worker.training.events import Assignment


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds, and the attempt that every write must carry."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    owner: str
    devices: list[int]
    ran_seconds: float = 0.0
    """Of the attempts before."""


def prepare(
    claim: Claim, database: Database, storage: Storage, scratch: Path, model_roots: list[Path]
) -> Assignment | None:
    """The assignment, or None when the job was failed because something that it names is not there."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with database.transaction() as session:
            assignment = _assignment(session, claim, storage, scratch, model_roots)
        failpoint("assignment.prepared")
        return assignment
    except Invalid as error:
        _fail(claim, database, "user", error.message)
    except OSError as error:
        _fail(claim, database, "infra", f"cannot prepare the job: {error}")
    return None


def _assignment(session: Session, claim: Claim, storage: Storage, scratch: Path, roots: list[Path]) -> Assignment:
    spec = JobSpec.model_validate(claim.spec)
    newest = checkpoints.choose(session, claim.job_id, "latest")
    return Assignment(
        job_id=claim.job_id,
        attempt=claim.attempt,
        spec=claim.spec,
        directory=str(scratch),
        models={name: _model(session, name, field, storage, roots) for field, name in spec.models.items()},
        resume_from=str(storage.local(newest.storage_key)) if newest else None,
        files=_files(session, claim.owner, spec, storage),
        devices=claim.devices,
    )


def _model(session: Session, name: str, field: str, storage: Storage, roots: list[Path]) -> str:
    match = JOB_MODEL.match(name)
    if match is None:
        return str(local_directory(name, roots) or name)
    found = checkpoints.choose(session, match["job"], match["which"])
    if found is None:
        raise Invalid(f"job {match['job']} has no checkpoint {match['which'] or 'latest'} to start from", param=field)
    return str(storage.local(found.storage_key))


def _files(session: Session, owner: str, spec: JobSpec, storage: Storage) -> dict[str, str]:
    named = [data.source for data in spec.datasets.values() if isinstance(data, FileData)]
    return {name: str(storage.local(f"files/{files.get(session, name, owner).sha256}")) for name in named}


def _fail(claim: Claim, database: Database, category: FailureCategory, message: str) -> None:
    with database.transaction() as session:
        job = jobs.hold(session, claim.job_id, claim.attempt, lease_seconds=30)
        jobs.fail(session, job, Failure(category=category, message=message))
