"""Training without a service: a spec, a folder, and a loop over events."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hone.errors import Invalid
from service.domain.specs import JobSpec
from worker.protocol import Event, Finished, Saved, Started, Step
from worker.training import train

SPEC: dict[str, Any] = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "style": "symbolic", "size": 12},
    "optimizer": {"learning_rate": 1e-3},
    "checkpoint": {"every": 2},
    "steps": 4,
}
ROWS = [{"prompt": f"{i}+1=", "completion": str(i + 1)} for i in range(8)]


def _weights(events: list[Event]) -> str:
    saved = [event for event in events if isinstance(event, Saved)][-1]
    return hashlib.sha256((Path(saved.directory) / "model.safetensors").read_bytes()).hexdigest()


def _rows(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def _first(spec: Any, folder: Path, **named: Any) -> Started:
    """The start of a training that is then given up."""
    events = train(spec, folder, **named)
    started = next(event for event in events if isinstance(event, Started))
    events.close()
    return started


def test_a_training_that_was_left_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = list(train(SPEC, tmp_path / "whole"))
    assert isinstance(whole[-1], Finished)
    for event in (left := train(SPEC, tmp_path / "left")):
        if isinstance(event, Step) and event.step == 3:
            left.close()
    rest = list(train(SPEC, tmp_path / "left"))
    assert [event.resumed_step for event in rest if isinstance(event, Started)] == [2]
    assert [event.step for event in rest if isinstance(event, Step)] == [3, 4]
    assert _weights(rest) == _weights(whole)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    whole = list(train(SPEC, tmp_path))
    (tmp_path / "step-00000004/model.safetensors").write_bytes(b"torn")
    rest = list(train(SPEC, tmp_path))
    assert [event.resumed_step for event in rest if isinstance(event, Started)] == [2]
    assert isinstance(whole[-1], Finished) and isinstance(rest[-1], Finished)


def test_checkpoints_of_another_spec_are_not_gone_on_from(tmp_path: Path) -> None:
    list(train(SPEC | {"steps": 2}, tmp_path))
    with pytest.raises(Invalid, match="spec in which steps differs; take another directory") as refused:
        train(SPEC, tmp_path)
    assert refused.value.param == "steps"
    assert _first(SPEC | {"steps": 2, "name": "the same, renamed"}, tmp_path).resumed_step == 2


def test_rows_come_from_a_path_in_the_spec_or_from_a_named_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, spec = _rows(tmp_path / "rows.jsonl"), {name: SPEC[name] for name in ("algorithm", "optimizer", "steps")}
    monkeypatch.chdir(tmp_path)
    sources: list[tuple[Any, dict[str, Any]]] = [
        ("./rows.jsonl", {}),
        (rows, {}),
        ("file-1", {"files": {"file-1": rows}}),
    ]
    runs = [
        list(train(spec | {"dataset": {"source": source}}, tmp_path / str(place), **named))
        for place, (source, named) in enumerate(sources)
    ]
    assert len({_weights(events) for events in runs}) == 1


def test_a_file_of_the_spec_and_a_spec_are_taken_as_well(tmp_path: Path) -> None:
    _rows(tmp_path / "rows.jsonl")
    file = tmp_path / "job.yaml"
    file.write_text("algorithm: {type: sft, batch_size: 2}\ndataset: {source: ./rows.jsonl}\nsteps: 3\n")
    assert _first(file, tmp_path / "a").total_steps == 3  # its paths are relative to it
    assert _first(JobSpec.model_validate(SPEC), tmp_path / "b").total_steps == 4


def test_a_model_of_a_service_or_of_another_name_is_passed_as_a_directory(tmp_path: Path) -> None:
    saved = [event for event in train(SPEC | {"steps": 2}, tmp_path / "parent") if isinstance(event, Saved)][-1]
    parent = "job:ftjob-1@best"
    with pytest.raises(Invalid, match=r"pass models={'job:ftjob-1@best': './model'}") as refused:
        train(SPEC | {"model": parent}, tmp_path / "child")
    assert refused.value.param == "model"
    child = SPEC | {"model": parent, "depends_on": []}
    by_name = list(train(child, tmp_path / "child", models={parent: saved.directory}))
    by_path = list(train(SPEC | {"model": saved.directory}, tmp_path / "other"))
    assert _weights(by_name) == _weights(by_path)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"model": "./nowhere"}, "model", r"nowhere is no directory of a model.*pass models={'./nowhere': path}"),
        ({"dataset": {"source": "./none.jsonl"}}, "dataset.source", r"none.jsonl is not a file; paths are relative"),
        ({"dataset": {"source": "file-1"}}, "dataset.source", r"pass files={'file-1': path}, or a path as the source"),
        ({"step": 3}, "step", "step: unknown field"),
        ({"steps": 0}, "steps", "steps: .*greater than or equal to 1"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], field: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Invalid, match=message) as refused:
        train(SPEC | change, tmp_path / "run")
    assert refused.value.param == field
    assert not (tmp_path / "run").exists()


def test_the_environment_of_the_notebook_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)  # other tests run the loop in this process
    list(train(SPEC | {"steps": 1}, tmp_path))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0" and "CUDA_DEVICE_ORDER" not in os.environ


def test_importing_train_imports_no_torch() -> None:
    code = (
        "import sys; from worker.training import train; assert 'torch' not in sys.modules and 'yaml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
