"""Specs in YAML or JSON (JSON is YAML), as the JSON that the API takes."""

import datetime
import math
from typing import Any

import yaml

from hone.errors import Invalid

NOT_IN_JSON = {
    datetime.date: "a date; put it in quotes",
    datetime.datetime: "a date; put it in quotes",
    bytes: "binary data; JSON has only text",
    set: "a set; write a list",
    tuple: "a pair of an ordered map; write fields",
}


def parse(text: str, source: str) -> Any:
    """The document in the text of `source`, as JSON can hold it; Invalid if the text is not such a document.

    The page reads the same documents with `read-yaml.ts`; both are tested against `yaml-documents.json`.
    """
    try:
        document = yaml.safe_load(text)
        _check(document, source, "")
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        AttributeError,
    ) as error:  # the last three of `!!int x`
        raise Invalid(f"{source} is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Invalid(f"{source} contains itself, or is nested too deeply") from None
    return document


def _check(value: Any, source: str, path: str) -> None:
    """Invalid for what YAML can say and JSON cannot: sent as it is, the request would fail without naming the field."""
    if type(value) in NOT_IN_JSON:
        raise Invalid(f"{source}: {path or 'the document'} is {NOT_IN_JSON[type(value)]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{source}: {path or 'the document'} is {value}, which JSON cannot say")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, source, f"{path}[{index}]")
    if isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else str(name)
            if not isinstance(name, str | int | None):
                raise Invalid(f"{source}: {inner} cannot be a field's name; put it in quotes")
            _check(item, source, inner)
