"""The documentation, cut into what the tests look at."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One Markdown file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text()

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language."""
        return [body for found, body in FENCE.findall(self.text) if found == language]

    def spans(self) -> list[str]:
        """What stands between single back quotes, outside fenced blocks."""
        return re.findall(r"`([^`\n]+)`", FENCE.sub("", self.text))

    def commands(self) -> list[str]:
        """Lines that a reader would type: those of shell blocks without comments, and spans."""
        lines = "\n".join(self.blocks("sh")).splitlines()
        return [line.split(" #")[0].strip() for line in lines] + self.spans()

    def tables(self, heading: str) -> list[list[str]]:
        """The cells of all table rows below a heading, until the next of its rank or above; headers included."""
        level = heading.index(" ")
        _, found, rest = self.text.partition(f"\n{heading}\n")
        assert found, f"{self.name} has no heading '{heading}', below which this test looks for a table"
        section = re.split(rf"^#{{1,{level}}} ", FENCE.sub("", rest), maxsplit=1, flags=re.MULTILINE)[0]
        rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
        return [[cell.strip() for cell in row] for row in rows]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def readme() -> Any:
    return Document(ROOT / "README.md")


@pytest.fixture(scope="session")
def architecture() -> Any:
    return Document(ROOT / "ARCHITECTURE.md")


@pytest.fixture(scope="session")
def documents(readme: Any, architecture: Any) -> Any:
    """All of them, those beside the code included."""
    others = (ROOT / "CHANGELOG.md", ROOT / "benchmarks/README.md", ROOT / "examples/README.md")
    return [readme, architecture, *map(Document, others)]
