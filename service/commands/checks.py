"""Whether what a spec names is there, may be seen and fits: parents, models and files."""

from pathlib import Path

from service.domain.datasets import FileData
from service.domain.errors import Invalid, NotFound
from service.domain.jobs import JobStatus
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL, JobSpec
from service.persistence import checkpoints, files, jobs
from service.persistence.database import Session
from service.persistence.tables import Job


def check(session: Session, owner: str, spec: JobSpec, roots: list[Path]) -> None:
    """Refuse a spec that names what its owner cannot use, or what does not fit."""
    _check_parents(session, owner, spec)
    _check_models(session, owner, spec, roots)
    _check_files(session, owner, spec)


def _check_parents(session: Session, owner: str, spec: JobSpec) -> None:
    for place, parent_id in enumerate(spec.depends_on):
        named = (field for field, model in spec.models.items() if model.startswith(f"job:{parent_id}"))
        param = next(named, f"depends_on.{place}")
        try:
            parent = jobs.get(session, parent_id, owner)
        except NotFound:
            raise Invalid(f"no job {parent_id}: name a job of your own", param=param) from None
        if parent.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise Invalid(f"job {parent_id} has {parent.status}: this job could never start", param=param)


def _check_models(session: Session, owner: str, spec: JobSpec, roots: list[Path]) -> None:
    for param, name in spec.models.items():
        match = JOB_MODEL.match(name)
        if match:
            parent = jobs.get(session, match["job"], owner)
            if parent.status == JobStatus.SUCCEEDED and checkpoints.choose(session, parent.id, match["which"]) is None:
                there = ", ".join(f"step-{row.step}" for row in checkpoints.of_job(session, parent.id)) or "none"
                raise Invalid(f"job {parent.id} has no checkpoint {match['which']}; it has {there}", param=param)
            _check_kind(parent, param)
        elif name.startswith("job:"):
            raise Invalid(f"'{name}' is not job:ID[@best|@latest|@step-N]", param=param)
        else:
            local_directory(name, roots)


def _check_kind(parent: Job, param: str) -> None:
    """A reward model scores, the others answer."""
    scores, wanted = parent.spec["algorithm"]["type"] == "reward_model", param.startswith("rewards.")
    if wanted and not scores:
        raise Invalid(f"job {parent.id} trains no reward model; name a job of type reward_model", param=param)
    if scores and param in ("model", "dataset.model"):
        raise Invalid(f"job {parent.id} trains a reward model, which cannot answer; name another", param=param)


def _check_files(session: Session, owner: str, spec: JobSpec) -> None:
    for field, dataset in spec.datasets.items():
        if not isinstance(dataset, FileData):
            continue
        param = f"{field}.source"
        try:
            file = files.get(session, dataset.source, owner)
        except NotFound:
            raise Invalid(f"no file {dataset.source}: upload it with POST /v1/files", param=param) from None
        wanted = {"sft": ["prompt+completion", "messages", "text"], "reward_model": ["chosen+rejected"]}
        shapes = wanted.get(spec.algorithm.type, ["prompt+answer"])
        if param == "dataset.source" and not set(shapes) & set(file.shapes):
            needs = " or ".join(shapes)
            raise Invalid(f"{spec.algorithm.type} needs rows of {needs}, but {file.id} has {file.columns}", param=param)
