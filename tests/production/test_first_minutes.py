"""`make demo` before anything trains: which build of torch is installed and why, and that nothing waits for the page.

pip is replaced by a script that writes down what it is asked for.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CPU_INDEX = "https://index.example.org/cpu"
Install = Callable[..., tuple[int, str, list[str]]]
PYTHON = """#!/bin/sh
shift 2  # -m pip
[ "$1" = list ] && { echo "numpy==2.1"; [ -z "%(installed)s" ] || echo "torch==%(installed)s"; exit; }
echo "$@" >> %(asked)s
exit %(status)d
"""


@pytest.fixture(scope="module")
def version(root: Path) -> str:
    """Of torch, as pinned."""
    (pinned,) = re.findall(r"^torch==(.+)$", (root / "requirements.lock").read_text(), re.MULTILINE)
    return str(pinned)


@pytest.fixture
def install(root: Path, tmp_path: Path) -> Install:
    """Runs the script: its exit status, what it says, and what it asks pip for."""

    def run(wanted: str, installed: str = "", *, offered: bool = True) -> tuple[int, str, list[str]]:
        asked, python = tmp_path / "asked", tmp_path / "python"
        asked.touch()
        python.write_text(PYTHON % {"installed": installed, "asked": asked, "status": 0 if offered else 1})
        python.chmod(0o755)
        command = [str(root / "scripts/install-torch.sh"), str(python), wanted, CPU_INDEX]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr, asked.read_text().splitlines()

    return run


def test_the_build_that_is_asked_for_is_installed_with_its_size_and_reason(install: Install, version: str) -> None:
    status, said, [asked] = install("cpu")
    assert status == 0 and re.search(r"the CPU build, about [\d.]+ GB to download, because TORCH=cpu asks for it", said)
    assert asked.endswith(f"--no-deps --timeout 15 --retries 1 --index-url {CPU_INDEX} torch=={version}+cpu")


def test_another_build_replaces_the_one_that_is_there(install: Install, version: str) -> None:
    status, said, [asked] = install("cuda", installed=f"{version}+cpu")
    assert status == 0 and "the CUDA build" in said
    assert asked.endswith(f"torch=={version},!={version}+cpu")


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_the_build_that_is_there_stays(install: Install, version: str, wanted: str) -> None:
    assert install(wanted, installed=f"{version}+cpu")[::2] == (0, [])


def test_an_older_version_does_not_stay(install: Install) -> None:
    assert len(install("auto", installed="1.0.0+cpu")[2]) == 1


@pytest.mark.parametrize(("wanted", "remedy"), [("cpu", "TORCH_CPU_INDEX="), ("cuda", "PIP_EXTRA_INDEX_URL=")])
def test_a_build_that_is_asked_for_and_not_offered_ends_with_a_remedy(
    install: Install, wanted: str, remedy: str
) -> None:
    status, said, _ = install(wanted, offered=False)
    assert status == 1 and remedy in said


def test_without_network_pip_takes_what_it_has(install: Install) -> None:
    status, _, asked = install("auto", offered=False)
    assert status == 0 and len(asked) == 1


@pytest.mark.parametrize("wanted", ["rocm", "", "CPU"])
def test_a_word_that_names_no_build_is_refused_with_those_that_do(install: Install, wanted: str) -> None:
    status, said, asked = install(wanted)
    assert (status, asked) == (1, []) and f"TORCH={wanted} is not a build" in said and "TORCH=cpu, TORCH=cuda" in said


def test_training_waits_neither_for_the_page_nor_for_what_developers_need(root: Path) -> None:
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # of the make of the tests
    command = ["make", "--dry-run", "--always-make", "demo"]
    printed = subprocess.run(command, cwd=root, env=ours, capture_output=True, text=True)
    *before, last = printed.stdout.strip().splitlines()
    assert "hone demo --page-builder" in last
    assert not [line for line in before if re.search(r"\bnpm\b|install-node|,dev\b", line)]
    assert not [line for line in before if "pip install" in line and "--quiet" in line]
