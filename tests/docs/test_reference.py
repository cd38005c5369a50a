"""The tables of docs/ are made from the code: a stale page is named, and what people wrote around them stays."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from service.reference.__main__ import main
from service.reference.fields import fields_table
from service.reference.markdown import rewritten, table
from service.reference.tables import ROOT, TABLES

TOOLS = {"tools": lambda: "| tool |\n| --- |\n| `trace` |"}
PAGE = "# Tools\n\n<!-- generated: tools -->\n{}<!-- end -->\n\nSome words.\n"


class Spec(BaseModel):
    """A spec with a field of each kind."""

    size: int = Field(8, ge=1, le=2**31, description="how many")
    rate: float | None = Field(None, gt=0, description="a | b")
    tags: list[str] = Field(default_factory=list)
    source: str


def test_no_page_is_stale() -> None:
    assert main(ROOT / "docs", TABLES, check=True) == []


def test_a_stale_page_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "tools.md").write_text(PAGE.format("old\n"))
    [problem] = main(tmp_path, TOOLS, check=True)
    assert "tools.md is stale" in problem and "python -m service.reference" in problem
    assert main(tmp_path, TOOLS, check=False) == []
    assert main(tmp_path, TOOLS, check=True) == []


def test_what_stands_around_a_table_is_left_alone() -> None:
    page = rewritten(PAGE.format("old\n"), TOOLS)
    assert page == PAGE.format("| tool |\n| --- |\n| `trace` |\n")


@pytest.mark.parametrize("check", [True, False])
def test_a_table_that_does_not_exist_or_that_no_page_has_is_named(tmp_path: Path, check: bool) -> None:
    (tmp_path / "tools.md").write_text(PAGE.format("").replace("tools", "tolls"))
    problems = main(tmp_path, TOOLS, check=check)
    assert problems == ["tools.md has a block 'tolls', but there is no such table", "no page has the table 'tools'"]


def test_fields_have_type_range_default_and_sentence() -> None:
    assert fields_table(Spec).splitlines()[2:] == [
        "| `size` | integer, 1 to 2147483648 | 8 | how many |",
        r"| `rate` | number, above 0, or null | null | a \| b |",
        "| `tags` | list of texts | [] | |",
        "| `source` | text | required | |",
    ]


def test_a_cell_cannot_end_its_row() -> None:
    assert table(("a", "b"), [("x|y", "")]).splitlines()[-1] == r"| x\|y | |"
