"""Tables of what users call: endpoints, error statuses, commands."""

import inspect
from typing import Any

import typer

from hone.cli import app
from service.api.problems import STATUSES
from service.app import described
from service.reference.markdown import BREAK, code, table

COMMON = {"--url", "--key", "--data-dir"}
"""Options of every command that talks to a service; the page describes them once."""


def endpoints() -> str:
    """Each endpoint with its sentence."""
    paths: dict[str, Any] = described().openapi()["paths"]
    rows = [
        (code(f"{method.upper()} {path}"), " ".join(str(operation.get("description", "")).split()))
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]
    return table(("endpoint", "what it does"), rows)


def errors() -> str:
    """Each class of refusal with its HTTP status."""
    rows = [(status, code(kind), code(cls.code), inspect.getdoc(cls)) for cls, (status, kind) in STATUSES.items()]
    return table(("status", "`type`", "usual `code`", "meaning"), rows)


def commands() -> str:
    """Each command of `hone` with its options, below the panels of `hone --help`."""
    group: Any = typer.main.get_command(app)
    panels: dict[str, list[tuple[str, str, str]]] = {}
    for name, command in group.commands.items():
        sentence = " ".join(command.help.split())
        panels.setdefault(command.rich_help_panel, []).append((_usage(name, command), sentence, _options(command)))
    header = ("command", "what it does", "options")
    return "\n\n".join(f"### {panel}\n\n{table(header, rows)}" for panel, rows in panels.items())


def _usage(name: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    words = [_word(param) if param.required else f"[{_word(param)}]" for param in arguments]
    return code(" ".join(["hone", name, *words]))


def _word(param: Any) -> str:
    return str(param.name).removesuffix("_id").replace("_", "-").upper()


def _options(command: Any) -> str:
    options = [param for param in command.params if param.param_type_name == "option"]
    names = {name for param in options for name in param.opts}
    hidden = COMMON if names >= COMMON else set()
    shown = [param for param in options if not hidden & set(param.opts) and "--help" not in param.opts]
    return BREAK.join(f"{_flags(param)} {param.help or ''}".strip() for param in shown)


def _flags(param: Any) -> str:
    return ", ".join(code(name) for name in (*param.opts, *param.secondary_opts))
