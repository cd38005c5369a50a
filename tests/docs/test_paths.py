"""Files, folders and links that the documentation names exist."""

import re
from pathlib import Path
from typing import Any

PATH = re.compile(r"(?:hone|service|worker|migrations|tests|benchmarks|examples|scripts|docs|\.ci)/[\w./-]*")
PACKAGES = ("hone", "service", "worker")
OPEN = {"hone", "service", "worker", "worker/training"}
"""Folders whose folders have rows of their own."""


def missing(document: Any, root: Path) -> list[str]:
    """Paths that a document names and the repository does not have."""
    return [span for span in document.spans() if PATH.fullmatch(span) and not (root / span).exists()]


def test_every_path_that_is_named_exists(documents: Any, root: Path) -> None:
    for document in documents:
        if document.name != "ARCHITECTURE.md":
            assert not missing(document, root), f"{document.name} names paths that are not in the repository"


def test_every_path_that_architecture_names_exists(architecture: Any, root: Path) -> None:
    assert not missing(architecture, root), "ARCHITECTURE.md names paths that are not in the repository"


def test_architecture_has_a_row_for_every_package(architecture: Any, root: Path) -> None:
    rows = set(re.findall(r"^\| `([\w/]+)/` \|", architecture.text, re.MULTILINE))
    packages = {path.parent for name in PACKAGES for path in (root / name).rglob("*.py") if path.stat().st_size}
    folders = {str(path.relative_to(root)) for path in packages if "node_modules" not in path.parts}
    lacking = sorted(name for name in folders - rows if not any(name.startswith(f"{row}/") for row in rows - OPEN))
    assert not lacking, f"ARCHITECTURE.md, section 'Layout', needs a row with a sentence for each of {lacking}"


def test_every_link_leads_somewhere(documents: Any, root: Path) -> None:
    for document in documents:
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", document.text) if "://" not in link]
        broken = [link for link in links if not (document.path.parent / link).exists()]
        assert not broken, f"{document.name} links to {broken}, which are not in the repository"


def test_every_link_into_a_page_names_one_of_its_headings(documents: Any) -> None:
    for document in documents:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", document.text):
            if "://" in target:
                continue
            path = (document.path.parent / target).resolve() if target else document.path
            anchors = {_slug(line) for line in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}
            assert anchor in anchors, f"{document.name} links to {target}#{anchor}, but that has {sorted(anchors)}"


def _slug(heading: str) -> str:
    """The anchor that Markdown renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
