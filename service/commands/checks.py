"""Checks that the parents, models and files of a spec exist, are visible to its owner, and fit."""

from pathlib import Path

from hone.documents.status import JobStatus
from hone.errors import Invalid, NotFound
from service.domain.column_hints import example, nearest
from service.domain.conversions import has_other_names
from service.domain.datasets import FileData
from service.domain.models import local_directory
from service.domain.needs import needed_shapes
from service.domain.shapes import shapes_of
from service.domain.specs import JOB_MODEL, JobSpec
from service.persistence import checkpoints, files, jobs
from service.persistence.database import Session
from service.persistence.tables import File, Job


def check(session: Session, owner: str, spec: JobSpec, roots: list[Path]) -> None:
    """Refuse a spec that names something that its owner cannot use or that does not fit."""
    _check_parents(session, owner, spec)
    _check_models(session, owner, spec, roots)
    _check_files(session, owner, spec)


def _check_parents(session: Session, owner: str, spec: JobSpec) -> None:
    for index, parent_id in enumerate(spec.depends_on):
        named = (field for field, model in spec.models.items() if model.startswith(f"job:{parent_id}"))
        param = next(named, f"depends_on.{index}")
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
                steps = ", ".join(f"step-{row.step}" for row in checkpoints.of_job(session, parent.id)) or "none"
                raise Invalid(f"job {parent.id} has no checkpoint {match['which']}; it has {steps}", param=param)
            _check_kind(parent, param)
        elif name.startswith("job:"):
            raise Invalid(f"'{name}' is not job:ID[@best|@latest|@step-N]", param=param)
        else:
            local_directory(name, roots)


def _check_kind(parent: Job, param: str) -> None:
    """Only a reward model can score responses, and it cannot answer prompts."""
    scores, is_reward = parent.algorithm == "reward_model", param.startswith("rewards.")
    if is_reward and not scores:
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
        _check_shape(field, dataset, file, spec)


def _check_shape(field: str, dataset: FileData, file: File, spec: JobSpec) -> None:
    """The file has rows that the field can use, as they are or as `columns` names them."""
    for target, path in dataset.columns.items():
        if path not in file.columns and path.split(".")[0] not in file.columns:
            raise Invalid(
                f"'{path}' is no column of all rows of {file.id}; they have {', '.join(file.columns)}",
                param=f"{field}.columns.{target}",
            )
    names = [*(name for name in file.columns if name not in dataset.columns.values()), *map(str, dataset.columns)]
    needed = needed_shapes(field, spec)
    found = shapes_of(names) if dataset.columns else file.shapes
    if set(needed) & set(found) or (dataset.columns and has_other_names(names)):
        return
    hints = [note for note in file.notes if "dataset.columns" in note]
    mapping = example(nearest(needed, file.columns), file.columns)
    message = f"{_reader(field, spec)} needs rows of {' or '.join(needed)}, but {file.id} has {file.columns}"
    raise Invalid(
        "; ".join([message, f"name them in {field}.columns, e.g. {mapping}", *hints]), param=f"{field}.source"
    )


def _reader(field: str, spec: JobSpec) -> str:
    return spec.algorithm.type if field == "dataset" else f"{field} of {spec.algorithm.type}"
