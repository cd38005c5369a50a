"""The README and ARCHITECTURE.md are short, and the README begins with what it takes to try Hone."""

import re
from pathlib import Path
from typing import Any

import pytest

SCREENSHOT_BYTES = 300_000


def test_the_readme_begins_with_a_sentence_numbers_two_commands_and_a_picture(readme: Any) -> None:
    kinds = re.findall(r"^(# |- \*\*|```\w+|!\[)", readme.text, re.MULTILINE)
    assert kinds[:6] == ["# ", "- **", "- **", "- **", "```sh", "!["]
    assert readme.commands()[:2] == ["make demo", ".venv/bin/hone up"]


@pytest.mark.parametrize(("name", "max_lines"), [("README.md", 150), ("ARCHITECTURE.md", 300)])
def test_the_first_pages_are_short(root: Path, name: str, max_lines: int) -> None:
    lines = len((root / name).read_text().splitlines())
    assert lines <= max_lines, f"{name} has {lines} lines, of which at most {max_lines} are read: move some to docs/"


def test_the_glossary_has_at_most_25_terms(page: Any) -> None:
    rows = [line for line in page("glossary").text.splitlines() if line.startswith("| ")]
    assert len(rows) <= 26, "a reader learns 25 words at most: use a word of the field instead"


def test_the_screenshot_is_a_small_png(root: Path) -> None:
    picture = root / "docs/dashboard.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    size = picture.stat().st_size
    assert size < SCREENSHOT_BYTES, f"{picture} has {size} bytes; take it again with scripts/screenshot.py --scale 1"
