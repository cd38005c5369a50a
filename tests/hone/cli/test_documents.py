"""A document means the same to `hone submit` and on the page: both are tested against one file of documents."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hone.cli.documents import parse
from hone.errors import Invalid
from service.domain.specs import JobSpec

# The page's `read-yaml.test.ts` reads it, too. `read`: what PyYAML reads, as JSON. `refused`: what is not YAML, or
# has no meaning in JSON. `written`: what the page writes of a document.
DOCUMENTS = json.loads((Path(__file__).parents[3] / "service/dashboard/src/lib/yaml-documents.json").read_text())


@pytest.mark.parametrize("case", DOCUMENTS["read"], ids=lambda case: repr(case["text"])[:60])
def test_a_document_reads_as_the_page_reads_it(case: dict[str, Any]) -> None:
    assert json.loads(json.dumps(parse(case["text"], "spec.yaml"))) == case["json"]
    assert json.loads(json.dumps(yaml.safe_load(case["text"]))) == case["json"]


@pytest.mark.parametrize("text", DOCUMENTS["refused"], ids=lambda text: repr(text)[:60])
def test_a_document_that_the_page_refuses_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^spec\.yaml"):
        parse(text, "spec.yaml")


@pytest.mark.parametrize("case", DOCUMENTS["written"], ids=lambda case: repr(case["text"])[:60])
def test_what_the_page_writes_is_read_back(case: dict[str, Any]) -> None:
    assert parse(case["text"], "spec.yaml") == case["json"]


def spec(text: str) -> JobSpec:
    base = {"algorithm": {"type": "sft"}, "model": "tiny", "dataset": {"source": "linear-algebra"}}
    return JobSpec.model_validate(base | parse(text, "spec.yaml"))


@pytest.mark.parametrize("rate", ["1e-5", "1.0e-5", "'1e-5'", "0.00001"])
def test_a_rate_in_scientific_notation_is_a_number_to_the_service(rate: str) -> None:
    """To PyYAML `1e-5` is text and only `1.0e-5` is a number; the spec takes both."""
    assert spec(f"optimizer: {{learning_rate: {rate}}}").optimizer.learning_rate == 1e-5


def test_on_and_off_are_truth_values() -> None:
    on, off = (spec(f"lora: {{use_rslora: {word}}}").lora for word in ("on", "off"))
    assert on is not None
    assert off is not None
    assert (on.use_rslora, off.use_rslora) == (True, False)
