"""Markdown tables, and the blocks of a page that are generated."""

import re
from collections.abc import Callable, Iterable, Mapping

Tables = Mapping[str, Callable[[], str]]
BREAK = "<br>"
"""A new line within a cell."""
BLOCK = re.compile(r"(<!-- generated: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows below a header. A pipe within a cell is escaped: it would end the cell."""
    titles = list(header)
    lines = [_row(titles), _row(["---"] * len(titles)), *map(_row, rows)]
    return "\n".join(lines)


def code(text: object) -> str:
    """Text as Markdown code."""
    return f"`{text}`"


def names(text: str) -> list[str]:
    """The tables that a page has, in order."""
    return [match["name"] for match in BLOCK.finditer(text)]


def rewritten(text: str, tables: Tables) -> str:
    """A page with each generated block made again; KeyError names a table that does not exist."""
    return BLOCK.sub(lambda match: f"{match[1]}{tables[match['name']]()}\n{match[3]}", text)


def _row(cells: Iterable[object]) -> str:
    escaped = [str(cell).replace("|", r"\|") for cell in cells]
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in escaped)}|"
