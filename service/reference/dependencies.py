"""The table of dependencies: what the project declares, what is pinned, and the reasons in `docs/dependencies.toml`."""

import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from service.reference.markdown import code, table

PAGE = "page"


class Declared(NamedTuple):
    """A package that the project declares: in which group, and which version is pinned."""

    group: str
    version: str


def dependencies_table(root: Path, group: str) -> str:
    """The packages of one group; SystemExit if a package has no reason, or a reason no package."""
    packages = declared(root)
    reasons = tomllib.loads((root / "docs/dependencies.toml").read_text())
    missing, stale = packages.keys() - reasons.keys(), reasons.keys() - packages.keys()
    if missing or stale:
        raise SystemExit(
            f"docs/dependencies.toml: write an entry for {sorted(missing)}; remove {sorted(stale)}, "
            "which pyproject.toml and package.json do not declare"
        )
    rows = [
        (code(name), packages[name].version, entry["why"], entry["alternatives"], entry["licence"])
        for name, entry in reasons.items()
        if packages[name].group == group
    ]
    return table(("package", "version", "what for", "considered instead", "licence"), rows)


def groups(root: Path) -> list[str]:
    """Every group that has packages of its own; each needs a table."""
    return list(dict.fromkeys(package.group for package in declared(root).values()))


def declared(root: Path) -> dict[str, Declared]:
    """Every package that pyproject.toml and the page's package.json name; the first group that names one wins."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {"required": project["dependencies"], **project["optional-dependencies"]}
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (root / "requirements.lock").read_text(), re.MULTILINE))
    versions = {_normal(name): version for name, version in pins.items()}
    packages: dict[str, Declared] = {}
    for group, requirements in groups.items():
        for name in (re.split(r"[^\w.-]", line)[0] for line in requirements):
            if name != project["name"]:
                packages.setdefault(name, Declared(group, versions.get(_normal(name), "not pinned")))
    page = json.loads((root / "service/dashboard/package.json").read_text())
    for name, version in (page["dependencies"] | page["devDependencies"]).items():
        packages[name] = Declared(PAGE, version.lstrip("^"))
    return packages


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
