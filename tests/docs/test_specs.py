"""Specs and rows that the documentation and the examples show are valid."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.domain.rows import check
from service.domain.specs import JobSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
JOB_ID = "ftjob-01KB3V5G8ZJ4Y0E7Q2M9T6W1XA"


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
    shown = [block for document in documents for block in document.blocks("yaml")]
    assert shown
    for block in shown:
        JobSpec.model_validate(yaml.safe_load(block))


def test_the_rows_in_the_documents_can_be_uploaded(documents: Any) -> None:
    shown = [block for document in documents for block in document.blocks("jsonl")]
    assert shown
    for block in shown:
        assert not check(block.encode().splitlines(keepends=True)).problems
