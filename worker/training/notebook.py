"""Training without a service: from a spec and paths to an `Assignment`; see `worker.training.train`."""

import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hone.errors import Invalid
from service.domain.datasets import FileData
from service.domain.models import is_path
from service.domain.sentences import dotted, sentence
from service.domain.specs import JOB_MODEL, JobSpec
from service.storage import manifest
from worker.protocol import Assignment, Event
from worker.training import loop

Document = dict[str, Any]
Source = Mapping[str, Any] | JobSpec | str | os.PathLike[str]
"""A spec: its fields, the spec itself, or a file of it."""
Paths = Mapping[str, str | os.PathLike[str]]
SPEC = "spec.json"
"""The spec of a directory's checkpoints."""
INERT = {"name", "tags", "priority", "checkpoint", "export", "samples_per_step"}
"""Fields that do not change the weights: a run may continue with other values of them."""
GPU_VARIABLES = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")
"""The loop sets them, for its own process; afterwards a notebook has their earlier values."""


def assignment(spec: Source, directory: Path, models: Paths, files: Paths) -> Assignment:
    """The assignment for the loop. Invalid names the field of what cannot be used."""
    checked, file_paths = _checked(spec, files)
    document = checked.model_dump(mode="json")
    resolved = {name: _model(field, name, models) for field, name in checked.models.items()}
    _record_spec(directory, document)
    return Assignment(
        job_id="notebook",
        attempt=1,
        spec=document,
        directory=str(directory),
        models=resolved,
        resume_from=_newest(directory),
        files=file_paths,
        devices=list(range(checked.resources.gpus)),
    )


def run(assigned: Assignment) -> Generator[Event, None, None]:
    """The events of the training. Closing it ends the processes that it has started."""
    with _restored_environment():
        yield from loop.run(assigned, lambda: None)


def _checked(spec: Source, files: Paths) -> tuple[JobSpec, dict[str, str]]:
    """The spec, read as strictly as a request is, and the path of each file by its id."""
    document, folder = _document(spec)
    file_paths = {name: str(Path(path).expanduser()) for name, path in files.items()}
    document = _with_ids(document, folder, file_paths)
    try:
        checked = JobSpec.model_validate(document)
    except ValidationError as error:
        details = error.errors()
        message = "; ".join(sentence(each, document) for each in details[:10])
        raise Invalid(message, param=dotted(details[0]["loc"], document)) from None
    for field, data in checked.datasets.items():
        if isinstance(data, FileData):
            _check_file(f"{field}.source", data.source, file_paths)
    return checked, file_paths


def _document(spec: Source) -> tuple[Document | JobSpec, Path]:
    """The spec's fields, and the folder to which its paths are relative."""
    if isinstance(spec, JobSpec):
        return spec, Path()
    if isinstance(spec, Mapping):
        return dict(spec), Path()
    if not isinstance(spec, str | os.PathLike):
        raise Invalid(f"the spec is a {type(spec).__name__}; give a dict, a JobSpec, or a file of YAML or JSON")
    file = Path(spec).expanduser()
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Invalid(f"{file} cannot be read as a spec: {error}; give a dict, or a file of YAML or JSON") from None
    if not isinstance(document, dict):
        raise Invalid(f"{file} holds {str(document)[:50]!r}, but a spec is a block of fields")
    return document, file.parent


def _with_ids(value: Any, folder: Path, file_paths: dict[str, str]) -> Any:
    """The document with each `source` that is a path replaced by an id, which is added to `file_paths`."""
    if isinstance(value, list):
        return [_with_ids(item, folder, file_paths) for item in value]
    if not isinstance(value, dict):
        return value
    document = {name: _with_ids(item, folder, file_paths) for name, item in value.items()}
    source = document.get("source")
    if isinstance(source, os.PathLike) or (isinstance(source, str) and (is_path(source) or source.endswith(".jsonl"))):
        path = str(folder / Path(source).expanduser())
        ids = {known: name for name, known in file_paths.items()}
        document["source"] = name = ids.get(path, f"file-path{len(file_paths) + 1}")
        file_paths[name] = path
    return document


def _check_file(field: str, name: str, file_paths: Mapping[str, str]) -> None:
    if name not in file_paths:
        message = f"'{name}' is a file of a service; pass files={{'{name}': path}}, or a path as the source"
        raise Invalid(f"{field}: {message}", param=field)
    if not Path(file_paths[name]).is_file():
        message = f"{file_paths[name]} is not a file; paths are relative to the spec's file, or to {Path.cwd()}"
        raise Invalid(f"{field}: {message}", param=field)


def _model(field: str, name: str, models: Paths) -> str:
    """The path of a model: the one that was passed, a directory, or the name itself (`tiny`, a Hub id)."""
    if name in models or is_path(name):
        path = Path(models.get(name, name)).expanduser()
        if not (path / "config.json").is_file():
            problem = f"{field} is '{name}', but {path} is no directory of a model: it has no config.json"
            raise Invalid(f"{problem}; pass models={{'{name}': path}}", param=field)
        return str(path)
    if JOB_MODEL.match(name):
        raise Invalid(
            f"{field} is '{name}', a checkpoint of a service; download it with `hone pull {name.removeprefix('job:')} "
            f"./model` and pass models={{'{name}': './model'}}",
            param=field,
        )
    return name


def _record_spec(directory: Path, document: Document) -> None:
    """Write the spec into the directory; Invalid if its checkpoints are of another spec."""
    written = {name: value for name, value in document.items() if name not in INERT}
    file = directory / SPEC
    if file.is_file() and any(directory.glob("step-*")):
        earlier = json.loads(file.read_text())
        if other := next(
            (name for name in written.keys() | earlier.keys() if written.get(name) != earlier.get(name)), None
        ):
            message = f"{directory} holds checkpoints of a spec in which {other} differs"
            raise Invalid(f"{message}; take another directory, or delete that one", param=other)
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(written, indent=1))


def _newest(directory: Path) -> str | None:
    """The last complete checkpoint; damaged ones are skipped."""
    for path in sorted(directory.glob("step-*"), reverse=True):
        try:
            manifest.verify(path)
        except manifest.Damaged:
            continue
        return str(path)
    return None


@contextmanager
def _restored_environment() -> Iterator[None]:
    values = {name: os.environ.get(name) for name in GPU_VARIABLES}
    try:
        yield
    finally:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
