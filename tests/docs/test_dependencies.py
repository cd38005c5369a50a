"""Every dependency has its reason in ARCHITECTURE.md."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any


def declared(root: Path) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    page = json.loads((root / "service/dashboard/package.json").read_text())
    return {re.split(r"[^\w.-]", line)[0] for line in lines} | {*page["dependencies"], *page["devDependencies"]}


def test_the_table_of_dependencies_is_what_the_project_declares(architecture: Any, root: Path) -> None:
    rows = [row for row in architecture.tables("## Dependencies") if row[0] not in ("package", "---")]
    told = {row[0].strip("`") for row in rows}
    missing = declared(root) - told
    assert not missing, f"ARCHITECTURE.md, section 'Dependencies', needs a row with reason and licence for {missing}"
    stale = told - declared(root)
    assert not stale, f"ARCHITECTURE.md, section 'Dependencies': remove {stale}, which nothing declares any more"
    incomplete = [row[0] for row in rows if len(row) != 4 or not all(row)]
    assert not incomplete, f"ARCHITECTURE.md, section 'Dependencies': fill in all four cells of {incomplete}"
