"""Commands and options that the documentation names exist."""

import re
from typing import Any

import typer

from hone.cli import app

PROGRAM = re.compile(r"(?:^|\s)(?:\.venv/bin/)?hone\s+([a-z][a-z-]*)(.*)$")


def commands() -> dict[str, set[str]]:
    """Each command of `hone` with its options."""
    group: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in group.commands.items()
    }


def test_every_hone_command_that_is_named_exists_with_its_options(documents: Any) -> None:
    known = commands()
    for document in documents:
        for line in document.commands():
            match = PROGRAM.search(line)
            if match is None or line.startswith(("curl", "from ")):
                continue
            name, rest = match.groups()
            assert name in known, f"{document.name}: `{line}`: hone has no command '{name}', only {sorted(known)}"
            unknown = set(re.findall(r"(?<!\S)(--[a-z-]+)", rest)) - known[name]
            assert not unknown, f"{document.name}: `{line}`: hone {name} has no {unknown}, only {known[name]}"


def test_every_make_target_that_is_named_exists(documents: Any, root: Any) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    for document in documents:
        for line in document.commands():
            named = re.fullmatch(r"make(?: ([a-z]+))?(?: [A-Z]+=\S+)*", line)
            assert not named or named[1] in {None, *targets}, f"{document.name}: the Makefile has no '{named[1]}'"


def test_every_python_module_that_is_run_exists(documents: Any, root: Any) -> None:
    for document in documents:
        for module in re.findall(r"(?:-m|-A|uvicorn) ((?:service|worker)[\w.]*)", document.text):
            path = root / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"{document.name}: there is no module {module}"
