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


def stages(instructions: list[tuple[str, str]]) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """What each stage is built on, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for name, argument in instructions:
        if name == "FROM":
            base, _, stage = argument.partition(" AS ")
            found[stage] = (base, [])
        elif found:
            found[stage][1].append((name, argument))
    return found


def test_every_stage_that_is_used_was_built_before(instructions: list[tuple[str, str]]) -> None:
    built: set[str] = set()
    for name, argument in instructions:
        if name == "FROM":
            image, _, stage = argument.partition(" AS ")
            assert image in built or image in ("${PYTHON_IMAGE}", "${NODE_IMAGE}")
            built.add(stage)
        if match := re.match(r"--from=(\S+)", argument):
            assert match[1] in built


def test_the_bases_are_what_the_project_supports_and_what_the_compose_files_name(
    instructions: list[tuple[str, str]], compose: Any, root: Path
) -> None:
    arguments = dict(argument.split("=", 1) for name, argument in instructions if name == "ARG")
    assert arguments == compose.services()["worker"]["build"]["args"]
    python, node = (re.findall(r":(\d+)\.(\d+)\.\d+-", arguments[name])[0] for name in ("PYTHON_IMAGE", "NODE_IMAGE"))
    package = json.loads((root / "service/dashboard/package.json").read_text())
    assert f'requires-python = ">={".".join(python)}"' in (root / "pyproject.toml").read_text()
    assert int(node[0]) > float(package["engines"]["node"].removeprefix(">="))


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
    _, made = stages(instructions)["wheel"]
    *copied, (_, build) = made
    assert "pip wheel" in build and "--no-deps" in build
    assert ("COPY", f"--from=page /page/dist {DIST.relative_to(tree)}") in copied
    assert ("COPY", "README.md ./") in copied  # its description; not in the layer of packages, which it would replace
    for folder in wheel["only-include"]:
        assert ("COPY", f"{folder} {folder}") in copied, folder


@pytest.mark.parametrize("image", ["control", "worker", "worker-gpu"])
def test_an_image_is_packages_and_the_wheel_and_runs_as_a_user_without_rights(
    instructions: list[tuple[str, str]], image: str
) -> None:
    _, made = stages(instructions)[image]
    assert made[:4] == [
        ("COPY", "--from=wheel /wheel /wheel"),
        ("RUN", "pip install --no-cache-dir --no-deps --force-reinstall /wheel/*.whl"),
        ("WORKDIR", "/"),  # where packages were installed, empty ones stand for those of Hone and would come first
        ("USER", "hone"),
    ]


def test_the_user_owns_the_mount_points(instructions: list[tuple[str, str]], compose: Any) -> None:
    (made,) = (argument for name, argument in instructions if "install --directory" in argument)
    owned = set(made.partition("--owner hone --group hone ")[2].split())
    services = compose.services()
    volumes = [volume for name in ("api", "worker", "worker-gpu") for volume in services[name]["volumes"]]
    assert {volume.split(":")[1] if ":" in volume else volume for volume in volumes} == owned


def test_packages_come_from_the_lock_and_each_image_has_those_that_it_needs(
    instructions: list[tuple[str, str]], root: Path
) -> None:
    extras, torch = {}, {}
    for stage, (base, made) in stages(instructions).items():
        runs = " ".join(argument for name, argument in made if name == "RUN")
        if found := re.findall(r'--constraint requirements\.lock "\.\[([\w,]+)\]"', runs):
            assert runs.count("pip install") == runs.count("--constraint requirements.lock")
            extras[stage] = found[0].split(",")
            torch[stage] = '--no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch' in runs
        extras.setdefault(stage, extras.get(base, []))
    assert extras["control"] == ["service", "s3"]
    assert extras["worker"] == ["service", "worker", "s3"] and torch["worker-packages"]
    assert extras["worker-gpu"] == ["service", "worker", "s3", "eightbit"] and not torch["worker-gpu-packages"]
    assert not [
        copied
        for stage, (_, made) in stages(instructions).items()
        if "packages" in stage
        for name, copied in made
        if name == "COPY" and "README" in copied
    ]
