"""Specs, rows and defaults that the documentation shows are those of the code."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from service.domain.algorithms import Algorithm, PolicySpec
from service.domain.datasets import LinearAlgebraTask
from service.domain.rewards import AnyReward
from service.domain.rows import check
from service.domain.specs import JobSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
ALGORITHMS: dict[str, type[BaseModel]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(Algorithm)[0])
}
POLICIES = [name for name, model in ALGORITHMS.items() if issubclass(model, PolicySpec)]
REWARDS: list[type[BaseModel]] = list(get_args(get_args(AnyReward)[0]))
FIELDS = "### Fields of the algorithms"
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
    document = yaml.safe_load(re.sub(r"\{(sft|reward_model)\}", JOB_ID, path.read_text()))
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


def test_the_readme_shows_the_blocks_that_are_null_unless_they_are_asked_for(readme: Any) -> None:
    text = next(block for block in readme.blocks("yaml") if "max_restarts" in block)
    for name in ("lora", "early_stopping"):
        line = re.search(rf"^{name}: null +# .*$", text, re.MULTILINE)
        assert line and shows(line[0], block_of(JobSpec, name)[0]), (
            f"README.md: `{name}: null` needs its fields behind it"
        )


def test_the_readme_names_every_algorithm(readme: Any) -> None:
    rows = [row[0] for row in readme.tables("## Algorithms") if len(row) == 2]
    assert [f"`{name}`" for name in ALGORITHMS] == rows[1 : 1 + len(ALGORITHMS)]


def test_the_readme_shows_every_field_of_an_algorithm_with_its_default(readme: Any) -> None:
    rows = [row[:-1] for row in readme.tables(FIELDS) if row[0].startswith("`")]
    fields = dict.fromkeys(name for model in ALGORITHMS.values() for name in model.model_fields)
    expected = [row_of(name) for name in fields if name not in ("type", "preset")]
    missing = [f"| {' | '.join(row)} |" for row in expected if row not in rows]
    assert not missing, f"README.md, '{FIELDS}': write these cells:\n" + "\n".join(missing)
    assert len(rows) == len(expected), f"README.md, '{FIELDS}', has a row for a field that does not exist"


def row_of(name: str) -> list[str]:
    """The field, its default with those of the algorithms that differ, and whose it is unless all policies share it."""
    having = [kind for kind, model in ALGORITHMS.items() if name in model.model_fields]
    kinds: dict[str, list[str]] = {}
    for kind in having:
        kinds.setdefault(shown(ALGORITHMS[kind], name), []).append(f"`{kind}`")
    usual, *others = sorted(kinds.items(), key=lambda item: -len(item[1]))
    default = "; ".join([usual[0], *(f"{', '.join(of)} {value}" for value, of in others)])
    cells = [f"`{name}`", default]
    return cells if having == POLICIES else [*cells, ", ".join(f"`{kind}`" for kind in having)]


def test_the_readme_shows_the_fields_of_the_blocks_within_an_algorithm(readme: Any) -> None:
    told = {row[0].strip("`"): row[-1] for row in readme.tables(FIELDS)}
    for name, kind in (("prompt_sampling", "grpo"), ("ptx", "ppo")):
        for block in block_of(ALGORITHMS[kind], name):
            assert shows(told[name], block), f"README.md, '{FIELDS}': the row of {name} lacks the defaults of {block}"


def block_of(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The models that a field may hold."""
    found, left = [], [model.model_fields[name].annotation]
    while left:
        part = left.pop()
        if isinstance(part, type) and issubclass(part, BaseModel):
            found.append(part)
        left += get_args(part)
    return found


def shows(text: str, block: type[BaseModel]) -> bool:
    """Whether a text has `{field: default, ...}` with all fields of a block that have a default."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in block.model_fields.items()
        if not field.is_required()
    }
    told = [yaml.safe_load(flow) for flow in re.findall(r"\{[^{}]*\}", text)]
    return any({name: flow.get(name) for name in defaults} == defaults for flow in told)


def test_the_readme_shows_every_reward_with_its_defaults(readme: Any) -> None:
    rows = [row[:2] for row in readme.tables("### Rewards")][1:]
    expected = []
    for model in REWARDS:
        own = {name: field for name, field in model.model_fields.items() if name not in ("type", "weight")}
        texts = [name if field.is_required() else f"{name}: {shown(model, name)}" for name, field in own.items()]
        expected.append([f"`{shown(model, 'type')}`", ", ".join(f"`{text}`" for text in texts)])
    assert rows == expected, f"README.md, section 'Rewards', needs exactly the rows: {expected}"


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
