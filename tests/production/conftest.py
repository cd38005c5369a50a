"""The compose file as Compose reads it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SECRETS = {"POSTGRES_PASSWORD": "0123456789abcdef", "REDIS_PASSWORD": "fedcba9876543210"}
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<operator>[-?])(?P<operand>[^}]*))?\})")


class Refused(Exception):
    """Compose would stop here, with this message."""


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace `$$`, `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in every string, as Compose does."""
    if isinstance(value, dict):
        return {name: interpolate(inner, environment) for name, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, environment) for inner in value]
    return VARIABLE.sub(lambda match: _substitute(match, environment), value) if isinstance(value, str) else value


def _substitute(match: re.Match[str], environment: Mapping[str, str]) -> str:
    name, operator, operand = match["name"], match["operator"], match["operand"]
    if name is None:
        return "$"
    if environment.get(name):
        return environment[name]
    if operator == "-":
        return str(operand)
    raise Refused(f"{name}: {operand}")


class Compose:
    """`docker-compose.yml`."""

    def __init__(self) -> None:
        self._text = (ROOT / "docker-compose.yml").read_text()

    def document(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The whole file; Refused if a variable is missing."""
        return interpolate(yaml.safe_load(self._text), environment)  # type: ignore[no-any-return]

    def services(self, **environment: str) -> dict[str, dict[str, Any]]:
        """Every service, with both passwords and what `environment` says."""
        return self.document(SECRETS | environment)["services"]  # type: ignore[no-any-return]

    @property
    def variables(self) -> dict[str, set[str]]:
        """The variables that it reads, each with its operators (`-`, `?` or nothing)."""
        found: dict[str, set[str]] = {}
        for match in VARIABLE.finditer(self._text):
            if match["name"]:
                found.setdefault(match["name"], set()).add(match["operator"] or "")
        return found


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> Compose:
    """The compose file."""
    return Compose()


@pytest.fixture(scope="session")
def refused() -> type[Exception]:
    """What reading it raises where Compose would not start."""
    return Refused
