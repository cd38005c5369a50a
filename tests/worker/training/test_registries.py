"""What a spec can name has exactly one entry, and a new one is a file with a decorator."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from service.domain.datasets import PlainDataset, RejectionSamplingData
from service.domain.rewards import AnyReward, RewardModelReward
from service.domain.specs import JobSpec
from service.domain.tools import ToolName
from worker.training.algorithm import ALGORITHMS, algorithm
from worker.training.data.registry import SOURCES, source
from worker.training.data.rows import load_rows
from worker.training.registry import Registry
from worker.training.rewards.registry import RULES, rule
from worker.training.tools.functions import FUNCTIONS, tool


def _members(annotated: Any) -> set[type]:
    """The schemas of a union that is told apart by a field."""
    union, *_ = get_args(annotated)
    return {get_args(member)[0] if hasattr(member, "__metadata__") else member for member in get_args(union)}


def _algorithms() -> set[str]:
    members = get_args(JobSpec.model_fields["algorithm"].annotation)
    return {member.model_fields["type"].default for member in members}


NAMED: dict[str, tuple[Mapping[Any, Any], set[Any]]] = {
    "algorithms": (ALGORITHMS, _algorithms()),
    "dataset sources": (SOURCES, _members(PlainDataset)),
    "rewards, without those of models": (RULES, _members(AnyReward) - {RewardModelReward}),
    "tools": (FUNCTIONS, set(get_args(ToolName))),
}


@pytest.mark.parametrize("what", NAMED)
def test_each_schema_of_the_spec_has_one_entry_and_there_are_no_others(what: str) -> None:
    entries, schemas = NAMED[what]
    assert schemas and set(entries) == schemas
    assert len(set(entries.values())) == len(schemas)


@pytest.mark.parametrize("what", NAMED)
def test_no_entry_is_registered_twice(what: str) -> None:
    entries, _ = NAMED[what]
    declare = {"algorithms": algorithm, "dataset sources": source, "tools": tool}.get(what, rule)
    key, before = next(iter(entries.items()))
    with pytest.raises(ValueError, match="is registered twice"):
        declare(key)(lambda *_: None)  # type: ignore[operator]
    assert entries[key] is before


def test_an_unknown_dataset_source_is_an_error_and_no_default() -> None:
    unknown = RejectionSamplingData.model_validate({"model": "tiny", "prompts": {"source": "linear-algebra"}})
    with pytest.raises(
        KeyError, match=r"no dataset source RejectionSamplingData .* there are FileData, LinearAlgebraData"
    ):
        load_rows(unknown, {}, "dataset")  # type: ignore[arg-type]


def test_a_new_file_in_the_package_is_a_new_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colours").mkdir()
    (tmp_path / "colours/__init__.py").touch()
    (tmp_path / "shades.py").write_text(
        "from worker.training.registry import Registry\nCOLOURS = Registry('colour', 'colours')\n"
    )
    (tmp_path / "colours/warm.py").write_text(
        "from shades import COLOURS\n@COLOURS.entry('red')\ndef red(): return 'f00'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import shades  # type: ignore[import-not-found]

    colours: Registry[str, Any] = shades.COLOURS
    assert list(colours) == ["red"] and colours["red"]() == "f00"
    assert "blue" not in colours
