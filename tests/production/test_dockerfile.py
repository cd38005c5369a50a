"""What the Dockerfile refers to exists, and the image is what docker-compose.yml expects."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import service.app
from service.api.page import DIST


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[tuple[str, str]]:
    """Name and argument of each, continued lines joined."""
    text = re.sub(r"\s*\\\n\s*", " ", (root / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in lines)]


def copies(instructions: list[tuple[str, str]]) -> list[tuple[str | None, list[str]]]:
    """Stage (None: the repository) and sources of each COPY."""
    found = []
    for argument in (argument for name, argument in instructions if name == "COPY"):
        stage = re.match(r"--from=(\S+) ", argument)
        found.append((stage and stage[1], argument[stage.end() if stage else 0 :].split()[:-1]))
    return found


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path or a folder above it out of the build."""
    steps = [path, *map(str, Path(path).parents)]
    return any(fnmatch(step, pattern.removeprefix("**/")) for step in steps for pattern in patterns)


def test_every_copied_path_exists_and_reaches_the_build(instructions: list[tuple[str, str]], root: Path) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for path in (path for stage, paths in copies(instructions) if stage is None for path in paths):
        assert (root / path).exists(), path
        assert not ignored(path, patterns), path
    for secret in (".env", ".git", "service/dashboard/node_modules"):
        assert ignored(secret, patterns), secret


def test_every_stage_that_is_used_was_built_before(instructions: list[tuple[str, str]]) -> None:
    stages: set[str] = set()
    for name, argument in instructions:
        if name == "FROM":
            image, _, stage = argument.partition(" AS ")
            assert image in stages or re.fullmatch(r"(python|node):\$\{(PYTHON|NODE)\}-slim", image)
            stages.add(stage)
        if match := re.match(r"--from=(\S+)", argument):
            assert match[1] in stages


def test_the_bases_are_what_the_project_supports(instructions: list[tuple[str, str]], root: Path) -> None:
    versions = dict(argument.split("=") for name, argument in instructions if name == "ARG" and '""' not in argument)
    package = json.loads((root / "service/dashboard/package.json").read_text())
    assert f'requires-python = ">={versions["PYTHON"]}"' in (root / "pyproject.toml").read_text()
    assert int(versions["NODE"]) > float(package["engines"]["node"].removeprefix(">="))


def test_the_page_is_built_as_its_own_package_builds_it(instructions: list[tuple[str, str]], root: Path) -> None:
    scripts = json.loads((root / "service/dashboard/package.json").read_text())["scripts"]
    (build,) = (argument for name, argument in instructions if name == "RUN" and "vite" in argument)
    describe, types = scripts["types"].split(" && ")
    assert "-m service.openapi > openapi.json" in describe
    assert scripts["build"] == "npm run types && npm run check && vite build"
    assert build == f"npx {types} && npm run check && npx vite build"


def test_the_wheel_is_made_of_all_that_it_carries(instructions: list[tuple[str, str]], root: Path) -> None:
    tree = Path(service.app.__file__).parents[1]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    page = f"--from=page /page/dist {DIST.relative_to(tree)}"
    (install,) = (place for place, (_, argument) in enumerate(instructions) if "--force-reinstall ." in argument)
    copied = [argument for name, argument in instructions[:install] if name == "COPY"]
    assert page in copied
    for folder in wheel["only-include"]:
        assert f"{folder} {folder}" in copied, folder


def test_the_image_runs_as_a_user_without_rights_who_owns_the_mount_points(
    instructions: list[tuple[str, str]], compose: Any
) -> None:
    last = max(place for place, (name, _) in enumerate(instructions) if name == "FROM")
    final = instructions[last:]
    assert ("USER", "hone") in final
    (made,) = (argument for name, argument in final if "install --directory" in argument)
    owned = set(made.partition("--owner hone --group hone ")[2].split())
    services = compose.services()
    volumes = [volume for name in ("api", "worker", "worker-gpu") for volume in services[name]["volumes"]]
    assert {volume.split(":")[1] if ":" in volume else volume for volume in volumes} == owned


def test_packages_come_from_the_lock_and_torch_from_an_index_only_if_one_is_named(
    instructions: list[tuple[str, str]],
) -> None:
    (install,) = (argument for name, argument in instructions if name == "RUN" and "requirements.lock" in argument)
    assert '--constraint requirements.lock ".[service,worker,s3]"' in install
    assert '${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}' in install
    assert ("ARG", 'TORCH_INDEX=""') in instructions
