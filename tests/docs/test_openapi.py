"""The OpenAPI document is valid, and programs that are made from it read and write every spec without loss."""

import re
from functools import cache
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from service.app import described
from tests.docs.test_specs import EXAMPLES, JOB_ID, uploaded

Node = dict[str, Any]


@cache
def document() -> Node:
    return dict(described().openapi())


def resolved(schema: Node) -> Node:
    reference = schema.get("$ref")
    return document()["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def unions(value: Any, path: str = "") -> list[tuple[str, Node]]:
    """The schemas of which a value may be one of several objects, and their places."""
    found: list[tuple[str, Node]] = []
    if isinstance(value, dict):
        if sum("$ref" in member for member in value.get("oneOf") or value.get("anyOf") or ()) > 1:
            found.append((path, value))
        for name, inner in value.items():
            found += unions(inner, f"{path}/{name}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += unions(inner, f"{path}/{index}")
    return found


def test_the_document_is_valid() -> None:
    validate(document())
    assert document()["openapi"].startswith("3.1")


def test_the_members_of_every_union_can_be_told_apart() -> None:
    found = unions(document())
    assert found
    for path, union in found:
        members = [resolved(member) for member in union["oneOf"]]
        if "discriminator" in union:
            name = union["discriminator"]["propertyName"]
            assert len(union["discriminator"]["mapping"]) == len(members), path
            assert all(name in member["required"] and "const" in member["properties"][name] for member in members), path
        else:  # the id of a file has a form of its own, but no fixed value, and comes last
            *fixed, form = [member["properties"]["source"] for member in members]
            assert all("const" in source and not re.search(form["pattern"], source["const"]) for source in fixed), path


def specs(documents: Any) -> list[Node]:
    shown = [block for each in documents for block in each.blocks("yaml")]
    texts = shown + [re.sub(r"\{(sft|reward_model)\}", JOB_ID, path.read_text()) for path in EXAMPLES]
    parsed = [yaml.safe_load(text) for text in texts[: len(shown)]]
    return parsed + [
        uploaded(yaml.safe_load(text), path.parent) for text, path in zip(texts[len(shown) :], EXAMPLES, strict=True)
    ]


def test_every_spec_that_is_shown_fits_the_document(documents: Any) -> None:
    schema = {**document()["components"]["schemas"]["JobSpec"], "components": document()["components"]}
    for spec in specs(documents):
        OAS31Validator(schema).validate(spec)


def kept(schema: Node, value: Any) -> Any:
    """What a generated client keeps of a value: of a union the first member whose required fields are there and whose
    fixed values are right, and of an object the fields that it knows. ValueError if it cannot read it.
    """
    schema = resolved(schema)
    for member in schema.get("oneOf") or schema.get("anyOf") or ():
        try:
            return kept(member, value)
        except ValueError:
            continue
    if "const" in schema and value != schema["const"]:
        raise ValueError(f"{value!r} is not {schema['const']!r}")
    if isinstance(value, list) and schema.get("type") == "array":
        return [kept(schema["items"], item) for item in value]
    if isinstance(value, dict) and schema.get("type") == "object":
        if not set(value) >= set(schema.get("required", ())):
            raise ValueError("a required field is missing")
        others = schema.get("additionalProperties")
        known = {name: schema["properties"][name] for name in value if name in schema.get("properties", {})}
        free = {name: value[name] for name in value if name not in known and others}
        return {name: kept(inner, value[name]) for name, inner in known.items()} | free
    if schema.get("type") in ("object", "array", "null") and value is not None:
        raise ValueError(f"{value!r} is no {schema['type']}")
    return value


def test_a_generated_client_keeps_every_field_of_a_spec(documents: Any) -> None:
    sampled = {"source": "rejection-sampling", "model": "tiny", "prompts": {"source": "file-1", "limit": 3}, "seed": 4}
    for spec in [*specs(documents), {"algorithm": {"type": "sft"}, "dataset": sampled}]:
        assert kept({"$ref": "#/components/schemas/JobSpec"}, spec) == spec


@pytest.mark.parametrize("status", ["401", "422"])
def test_every_endpoint_with_a_key_says_what_it_may_refuse(status: str) -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if "security" in operation:
                assert status in operation["responses"], f"{method} {path}"
