"""Fields of pydantic models as table rows: name, type with its range, default, description."""

import inspect
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.reference.markdown import code, table

HEADER = ("field", "type", "default", "meaning")
BOUNDS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "map"}
Row = tuple[str, str, str, str]


def fields_table(model: type[BaseModel], without: frozenset[str] = frozenset()) -> str:
    """All fields of a model but those in `without`."""
    return table(HEADER, [row for name, row in rows(model).items() if name not in without])


def differing_table(model: type[BaseModel], base: type[BaseModel]) -> str:
    """The fields of a model that its base does not have, or for which the base says something else."""
    shared = rows(base)
    different = [row for name, row in rows(model).items() if name != "type" and shared.get(name) != row]
    return table(HEADER, different) if different else "No further fields."


def rows(model: type[BaseModel]) -> dict[str, Row]:
    """A row for each field; `type`, which tells the members of a union apart, has one value."""
    properties = model.model_json_schema()["properties"]
    return {
        name: (code(name), kind(properties[name]), default(field), field.description or _of_block(field))
        for name, field in model.model_fields.items()
    }


def _of_block(field: FieldInfo) -> str:
    """A block without a description has the sentence of its model."""
    block = field.annotation
    return inspect.getdoc(block) or "" if isinstance(block, type) and issubclass(block, BaseModel) else ""


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words: `integer, at least 1`."""
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        words = " or ".join(dict.fromkeys(kind(part) for part in parts))
        return f"{words}, or null" if len(parts) < len(schema["anyOf"]) else words
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "$ref" in schema or "oneOf" in schema:
        return "block"
    if schema.get("type") == "array":
        return f"list of {_plural(schema['items'])}"
    return ", ".join([TYPES.get(schema.get("type", ""), "any"), *_range(schema)])


def _range(schema: dict[str, Any]) -> list[str]:
    if "minimum" in schema and "maximum" in schema:
        return [f"{written(schema['minimum'])} to {written(schema['maximum'])}"]
    return [words.format(written(schema[bound])) for bound, words in BOUNDS.items() if bound in schema]


def _plural(items: dict[str, Any]) -> str:
    words = kind(items)
    return {"block": "blocks", "text": "texts", "integer": "integers"}.get(words, words)


def default(field: FieldInfo) -> str:
    """A default as a spec writes it; a block that may be left out has the defaults of its own fields."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    return written(value)


def written(value: Any) -> str:
    """A plain value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return str(value)
