"""The mapping of a dataset (`dataset.columns`): the columns of a file by Hone's names."""

from collections.abc import Mapping
from typing import Any

from service.domain.shapes import Column

Row = dict[str, Any]
FAMILIES = (("messages",), ("text",), ("prompt", "completion", "answer", "chosen", "rejected"))
"""Columns that say the same in another way: a mapping that names one of a family leaves the others out."""


class MissingColumn(ValueError):
    """A row lacks a column that the mapping names; the message continues 'row 3 ...'."""


def mapped(row: Row, columns: Mapping[Column, str]) -> Row:
    """The row with the named columns under our names, and without what a mapping of that kind leaves out.

    Raises MissingColumn.
    """
    values: Row = {target: _at(row, path, target) for target, path in columns.items()}
    families = [family for family in FAMILIES if set(family) & set(columns)]
    others = {name for family in FAMILIES if families and family not in families for name in family}
    left_out = {*columns.values(), *others} - set(columns)
    if {"chosen", "rejected"} <= set(values) and "prompt" not in values and not isinstance(values["chosen"], str):
        left_out.add("prompt")
    return {name: value for name, value in row.items() if name not in left_out} | values


def _at(row: Row, path: str, target: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            has = ", ".join(f"'{each}'" for each in list(row)[:20]) or "none"
            raise MissingColumn(f"has no '{path}', which columns.{target} names; its columns are {has}")
        value = value[name]
    return value
