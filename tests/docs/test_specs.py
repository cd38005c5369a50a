"""Specs, rows and defaults that the documentation shows are those of the code."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from service.domain.datasets import LinearAlgebraTask
from service.domain.rewards import ExactReward, FormatReward, MathReward, NumericReward, RegexReward
from service.domain.rows import check
from service.domain.specs import GRPOSpec, JobSpec, PPOSpec, SFTSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
ALGORITHMS: list[type[BaseModel]] = [SFTSpec, GRPOSpec, PPOSpec]
REWARDS: list[type[BaseModel]] = [ExactReward, NumericReward, MathReward, RegexReward, FormatReward]
JOB_ID = "ftjob-01KB3V5G8ZJ4Y0E7Q2M9T6W1XA"


def shown(model: type[BaseModel], name: str) -> str:
    """A default as the documentation writes it; empty where there is no such field."""
    field = model.model_fields.get(name)
    if field is None:
        return ""
    return field.default if isinstance(field.default, str) else json.dumps(field.default)


def uploaded(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The spec as the service sees it: a file that is named beside it has been uploaded and has an id."""
    for name in ("dataset", "eval_dataset"):
        data = document.get(name) or {}
        if str(data.get("source", "")).endswith(".jsonl"):
            assert (folder / data["source"]).is_file(), f"{folder / data['source']} does not exist"
            document[name] = data | {"source": "file-1"}
    return document


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_every_example_is_a_valid_spec(path: Path) -> None:
    document = yaml.safe_load(path.read_text().replace("{sft}", JOB_ID))
    JobSpec.model_validate(uploaded(document, path.parent))


def test_every_spec_in_the_documents_is_valid(documents: Any) -> None:
    for document in documents:
        for block in document.blocks("yaml"):
            JobSpec.model_validate(yaml.safe_load(block))


def test_the_readme_shows_every_shared_field_with_its_default(readme: Any) -> None:
    block = yaml.safe_load(next(block for block in readme.blocks("yaml") if "max_restarts" in block))
    plain = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}}
    defaults = JobSpec.model_validate(plain).model_dump(mode="json")
    assert set(block) == set(defaults), "README.md, 'Your own job': the block of defaults needs each field of JobSpec"
    assert block == {name: plain.get(name, value) for name, value in defaults.items()}


def test_the_readme_shows_every_field_of_an_algorithm_with_its_default(readme: Any) -> None:
    rows = [row[:4] for row in readme.tables("## Algorithms") if len(row) == 5][1:]
    fields = {name: None for model in ALGORITHMS for name in model.model_fields if name != "type"}
    expected = [[f"`{name}`", *(shown(model, name) for model in ALGORITHMS)] for name in fields]
    missing = [f"| {' | '.join(row)} |" for row in expected if row not in rows]
    assert not missing, "README.md, section 'Algorithms': write these cells:\n" + "\n".join(missing)
    assert len(rows) == len(expected), "README.md, section 'Algorithms', has a row for a field that does not exist"


def test_the_readme_shows_every_reward_with_its_defaults(readme: Any) -> None:
    rows = [row[:2] for row in readme.tables("## Algorithms") if len(row) == 3][1:]
    expected = []
    for model in REWARDS:
        own = {name: field for name, field in model.model_fields.items() if name not in ("type", "weight")}
        texts = [name if field.is_required() else f"{name}: {shown(model, name)}" for name, field in own.items()]
        expected.append([f"`{shown(model, 'type')}`", ", ".join(f"`{text}`" for text in texts)])
    assert rows == expected, f"README.md, section 'Algorithms', the table of rewards needs exactly: {expected}"


def test_every_kind_of_problem_is_named_in_the_readme(readme: Any) -> None:
    missing = set(get_args(LinearAlgebraTask)) - set(readme.spans())
    assert not missing, f"README.md, section 'Your own data', does not name the tasks {missing}"


def test_the_rows_in_the_readme_can_be_uploaded(readme: Any) -> None:
    for block in readme.blocks("jsonl"):
        assert not check(block.encode().splitlines(keepends=True)).problems


def test_the_readme_begins_with_a_sentence_two_commands_a_picture_and_the_flow(readme: Any) -> None:
    kinds = re.findall(r"^(# |```\w+|!\[)", readme.text, re.MULTILINE)
    assert kinds[:4] == ["# ", "```sh", "![", "```text"]
    assert readme.commands()[:2] == ["make demo", ".venv/bin/hone up"]
