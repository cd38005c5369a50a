"""The OpenAPI document: FastAPI's, made valid and complete, so that programs made from it lose nothing."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from hone.documents import ErrorRead
from service.domain.storable import LARGEST

Node = dict[str, Any]


def describe(app: FastAPI) -> None:
    """Let the application answer this document."""
    made = app.openapi

    def openapi() -> Node:
        if app.openapi_schema is None:
            complete(made())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def complete(document: Node) -> None:
    """Change the document in place."""
    schemas: Node = document["components"]["schemas"]
    refusal = ErrorRead.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= refusal.pop("$defs") | {"ErrorRead": refusal}
    for node in list(_nodes(document)):
        _describe_stream(node)
        _bound(node)
        _require_discriminator(node, schemas)
    _allow_presets(schemas)


def _describe_stream(node: Node) -> None:
    """`itemSchema` is of OpenAPI 3.2, but FastAPI writes it under 3.1."""
    if node.pop("itemSchema", None) is not None:
        text = "server-sent events: `id` is the sequence number, `event` the kind, and `data` an EventRead in JSON"
        node["schema"] = {"description": text}  # no type: some programs hold each event against it, others all of them


def _bound(node: Node) -> None:
    """Whole numbers have 64 bits."""
    if node.get("type") == "integer" and not {"maximum", "exclusiveMaximum", "enum", "const"} & set(node):
        node["maximum"] = LARGEST


def _require_discriminator(node: Node, schemas: Node) -> None:
    """Pydantic's members have a default for what tells them apart; in the union it must be there."""
    discriminator = node.get("discriminator", {})
    for reference in discriminator.get("mapping", {}).values():
        member = schemas[reference.rpartition("/")[2]]
        member["required"] = sorted({*member.get("required", ()), discriminator["propertyName"]})


def _allow_presets(schemas: Node) -> None:
    """A preset knows its algorithm, so `type` may be left out beside it."""
    algorithm: Node = schemas["JobSpec"]["properties"]["algorithm"]
    schemas["PresetSpec"] = {
        "title": "PresetSpec",
        "description": "A preset by its name; what is written beside it are fields of the preset's algorithm.",
        "type": "object",
        "properties": {"preset": {"type": "string", "maxLength": 100}},
        "required": ["preset"],
        "not": {"required": ["type"]},
        "additionalProperties": True,
    }
    members = {name: algorithm.pop(name) for name in ("oneOf", "discriminator")}
    algorithm["anyOf"] = [members, {"$ref": "#/components/schemas/PresetSpec"}]


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(inner)
