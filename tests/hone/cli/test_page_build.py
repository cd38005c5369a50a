import io
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hone.cli.page_build import REMEDY, PageBuild


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_page_that_is_built_is_told_of_once(tmp_path: Path, console: Console) -> None:
    with PageBuild("true", tmp_path, console) as page:
        page.wait()
        assert not page.running()
    assert said(console).splitlines()[1:] == ["The page is built."]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("sh -c 'echo [npm] is not found; exit 127'", "[npm] is not found"),
        ("no-such-program page", "No such file or directory: 'no-such-program'"),
        ("make 'page", "No closing quotation"),
    ],
)
def test_a_page_that_cannot_be_built_is_told_of_with_the_reason_and_a_remedy(
    tmp_path: Path, console: Console, command: str, reason: str
) -> None:
    with PageBuild(command, tmp_path, console) as page:
        page.wait()
    assert reason in said(console) and said(console).count(REMEDY) == 1


def test_an_unfinished_build_ends_with_the_demonstration(tmp_path: Path, console: Console) -> None:
    waits = shlex.join([sys.executable, "-c", "import time; time.sleep(600)"])
    with PageBuild(waits, tmp_path, console) as page:
        assert page.running()
    assert "The page is built." not in said(console)


def test_without_a_command_nothing_is_built_and_nothing_said(tmp_path: Path, console: Console) -> None:
    with PageBuild(None, tmp_path, console) as page:
        page.wait()
    assert said(console) == "" and not list(tmp_path.iterdir())
