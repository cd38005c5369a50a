"""Whatever is uploaded or submitted is read, or refused with a reason: no other exception leaves the parsers."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from hone.documents import JobChange, JobExtension, KeyCreate, WebhookChange, WebhookCreate
from hone.documents.validation import LENIENT
from hone.errors import HoneError
from service.api.requests import read
from service.domain import jsonl
from service.domain.conversions import OTHER_NAMES
from service.domain.effects import refuse_without_effect
from service.domain.merge import merged
from service.domain.rows import check
from service.domain.sentences import dotted, sentence
from service.domain.shapes import KNOWN
from service.domain.specs import JobSpec
from service.domain.storable import problem_of_text, unstorable
from service.domain.stored import SPEC_VERSION, StoredSpec
from service.domain.webhook_urls import check_url

THOROUGH = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of surrogate pairs too
NUMBERS = st.integers() | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400]) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | ANY_TEXT


def documents(names: st.SearchStrategy[str], scalars: st.SearchStrategy[Any] = SCALARS) -> st.SearchStrategy[Any]:
    """JSON of any form, whose objects have such names."""
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=12
    )


INNER = ("role", "content", "from", "value", "name", "arguments", "tool_calls", "function", "ground_truth", "type")
COLUMNS = st.sampled_from([*KNOWN, *sorted(OTHER_NAMES), *INNER])
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function", "developer", ""])
WORDS = ROLES | st.sampled_from(["1+1=", "2", "#### 72", "<think>x", '{"name": "f", "arguments": {}}', "[]", "{"])
MESSAGE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"role": ROLES, "from": ROLES, "content": WORDS | SCALARS, "value": WORDS, "tool_calls": st.just([{}])}
)
ROWS = st.dictionaries(COLUMNS | ANY_TEXT, WORDS | st.lists(MESSAGE, max_size=4) | documents(COLUMNS), max_size=6)
RECORDED = json.loads(Path(__file__).with_name(f"spec_fields_{SPEC_VERSION}.json").read_text())
FIELDS = st.sampled_from(sorted({name for path in RECORDED for name in path.split(".")}))
KINDS = ["sft", "grpo", "ppo", "reward_model", "linear-algebra", "rejection-sampling", "file-1", "math", "regex"]
VALUES = st.sampled_from([*KINDS, "(", "tiny", "dapo", "trace", "job:ftjob-1@best", "job:", "auto", "curriculum"])
GOOD: dict[str, Any] = {
    "algorithm": {"type": "grpo", "num_generations": 4},
    "dataset": {"source": "linear-algebra", "size": 8},
    "rewards": [{"type": "math"}, {"type": "regex", "pattern": "x"}],
    "optimizer": {"learning_rate": 1e-3},
    "evaluation": {"every": 2},
    "eval_dataset": {"source": "linear-algebra"},
    "resources": {"gpus": 0},
    "tags": {"a": "b"},
    "steps": 2,
}


@st.composite
def changed_specs(draw: st.DrawFn) -> Any:
    """A right spec with some fields replaced, added or removed."""
    return merged(GOOD, draw(st.dictionaries(FIELDS, documents(FIELDS, SCALARS | VALUES), max_size=3)))


def readable(text: str) -> None:
    """Somebody can be told it: it can be written as UTF-8."""
    assert text and text.encode()


def told(error: ValidationError, document: Any) -> None:
    """Each problem has a sentence, and its field a dotted name."""
    for each in error.errors():
        assert sentence(each, document)
        dotted(each["loc"], document)


@THOROUGH
@given(st.binary(max_size=200) | st.lists(ROWS.map(lambda row: json.dumps(row).encode()), max_size=4).map(b"\n".join))
@example(b"[" * 100_000)
@example(b'{"a":' * 3000 + b"1" + b"}" * 3000)
@example(b"9" * 5000)
@example(b'{"prompt": "\\ud800", "completion": "x"}')
@example(b'{"\\u0000": 1, "text": "x"}')
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
def test_any_upload_is_read_or_refused(content: bytes) -> None:
    report = check(content.splitlines(keepends=True))
    assert report.problem_count or report.rows
    for text in (*report.columns, *report.notes, *(problem.message for problem in report.problems)):
        readable(text) if text else None
        assert problem_of_text(text) is None or report.problem_count  # what is accepted is stored


@THOROUGH
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_any_row_is_read_or_refused(rows: list[dict[str, Any]]) -> None:
    report = check([json.dumps(row).encode() + b"\n" for row in rows])
    for problem in report.problems:
        readable(problem.message)


@THOROUGH
@given(ANY_TEXT | documents(ANY_TEXT).map(json.dumps))
def test_any_text_is_json_or_refused(text: str) -> None:
    try:
        value = jsonl.decoded(text)
    except jsonl.Refused as refusal:
        readable(str(refusal))
    else:
        assert not jsonl.is_too_deep(value)


@THOROUGH
@given(st.binary(max_size=100) | documents(ANY_TEXT).map(lambda document: json.dumps(document).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        document = read(body)
    except (HoneError, HTTPException, RequestValidationError, json.JSONDecodeError):
        return
    assert not list(unstorable(document))


@THOROUGH
@given(changed_specs() | documents(FIELDS))
def test_any_spec_is_accepted_or_refused_with_its_field(document: Any) -> None:
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        told(error, document)
        return
    assert JobSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert StoredSpec(spec.model_dump(mode="json"), SPEC_VERSION).spec == spec
    refuse_without_effect(spec)


@THOROUGH
@given(changed_specs() | documents(FIELDS), st.integers(0, 4))
def test_any_stored_spec_is_read_or_unreadable(document: Any, version: int) -> None:
    stored = StoredSpec(document, version)
    for read_part in (lambda: stored.spec, lambda: stored.resources, lambda: stored.ignored, stored.exact):
        try:
            read_part()
        except HoneError as error:
            readable(error.message.encode(errors="backslashreplace").decode())


@pytest.mark.parametrize("model", [JobChange, JobExtension, KeyCreate, WebhookChange, WebhookCreate])
def test_any_other_document_is_accepted_or_refused(model: Any) -> None:
    @THOROUGH
    @given(st.dictionaries(st.sampled_from([*model.model_fields, "other"]), documents(ANY_TEXT, SCALARS | VALUES)))
    def read_it(document: dict[str, Any]) -> None:
        for context in (None, LENIENT):
            try:
                model.model_validate(document, context=context)
            except ValidationError as error:
                told(error, document)

    read_it()


@THOROUGH
@given(ANY_TEXT | ANY_TEXT.map("http://{}".format) | ANY_TEXT.map("https://[{}]/".format))
@example("http://\u2100/")
@example("http://[::1")
@example("https://x:99999999/")
@example("https://1.2.3.4.5.6/")
def test_any_url_is_accepted_or_refused(url: str) -> None:
    with suppress(HoneError):
        check_url(url, private=False)
