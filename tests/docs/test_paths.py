"""Files that the documentation names exist, and every module is named."""

import re
from pathlib import Path
from typing import Any

PATH = re.compile(r"(?:service|worker|migrations|tests|benchmarks|examples|scripts|docs|\.ci)/[\w./-]*")
PACKAGES = ("service", "worker")
SCREENSHOT_BYTES = 300_000


def test_every_path_that_is_named_exists(documents: Any, root: Path) -> None:
    for document in documents:
        named = [span for span in document.spans() if PATH.fullmatch(span)]
        missing = [span for span in named if not (root / span).exists()]
        assert not missing, f"{document.name} names {missing}, which are not in the repository"


def test_every_link_leads_somewhere(documents: Any, root: Path) -> None:
    for document in documents:
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", document.text) if "://" not in link]
        missing = [link for link in links if not (document.path.parent / link).exists()]
        assert not missing, f"{document.name} links to {missing}, which are not in the repository"


def test_architecture_names_every_module(architecture: Any, root: Path) -> None:
    named = set(architecture.spans())
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py") if path.stat().st_size]
    modules = [str(path.relative_to(root)) for path in files if "node_modules" not in path.parts]
    missing = sorted(module for module in modules if module not in named)
    assert not missing, f"ARCHITECTURE.md, section 'Layout', needs a row with a sentence for each of {missing}"


def test_the_screenshot_is_a_small_png(root: Path) -> None:
    picture = root / "docs/dashboard.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    size = picture.stat().st_size
    assert size < SCREENSHOT_BYTES, f"{picture} has {size} bytes; take it again with scripts/screenshot.py --scale 1"
