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
        return [body for block_language, body in FENCE.findall(self.text) if block_language == language]

    def spans(self) -> list[str]:
        """What stands between single back quotes, outside fenced blocks."""
        return re.findall(r"`([^`\n]+)`", FENCE.sub("", self.text))

    def commands(self) -> list[str]:
        """Lines that a reader would type: those of shell blocks without comments, and spans."""
        lines = "\n".join(self.blocks("sh")).splitlines()
        return [line.split(" #")[0].strip() for line in lines] + self.spans()


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
def page() -> Any:
    """A page of docs/ by its name."""
    return lambda name: Document(ROOT / "docs" / f"{name}.md")


@pytest.fixture(scope="session")
def documents() -> Any:
    """All of them, those beside the code included."""
    names = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
    elsewhere = (ROOT / "benchmarks/README.md", ROOT / "examples/README.md")
    return [
        Document(path) for path in (*(ROOT / name for name in names), *sorted((ROOT / "docs").glob("*.md")), *elsewhere)
    ]
