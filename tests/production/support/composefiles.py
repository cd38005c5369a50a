"""The compose files as Compose reads them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
SECRETS = {"POSTGRES_PASSWORD": "0123456789abcdef", "REDIS_PASSWORD": "fedcba9876543210"}
URLS = {
    "DATABASE_URL": "postgresql+psycopg://hone:0123456789abcdef@10.0.0.1:5432/hone",
    "REDIS_URL": "redis://:fedcba9876543210@10.0.0.1:6379/0",
    "STORAGE_URL": "s3://bucket/hone",
}
NAME = re.compile(r"\w+")
MAIN, WORKER, HOSTS = "docker-compose.yml", "docker-compose.worker.yml", "docker-compose.hosts.yml"


class Refused(Exception):
    """Compose would stop here, with this message."""


class Variables(dict[str, str]):
    """Those that are set, and what a file asks for: each name with its operators (`-`, `?` or nothing)."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.read: dict[str, set[str]] = {}
        self.defaults: dict[str, str] = {}

    def interpolate(self, value: Any) -> Any:
        """Replace `$$`, `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in every string, as Compose does."""
        if isinstance(value, dict):
            return {name: self.interpolate(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.interpolate(inner) for inner in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        before, dollar, rest = text.partition("$")
        if not dollar:
            return before
        if rest.startswith("$"):
            return f"{before}${self._text(rest[1:])}"
        assert rest.startswith("{"), text
        end = _closing(rest)
        return before + self._value(rest[1:end]) + self._text(rest[end + 1 :])

    def _value(self, inside: str) -> str:
        match = NAME.match(inside)
        assert match, inside
        name, operator, operand = match[0], inside[match.end() :][:2], inside[match.end() + 2 :]
        assert operator in ("", ":-", ":?"), inside
        self.read.setdefault(name, set()).add(operator[1:])
        if operator == ":-":
            operand = self.defaults[name] = self._text(operand)  # also where it is not needed, as Compose does
        if self.get(name) or not operator:
            return self.get(name, "")
        if operator == ":?":
            raise Refused(f"{name}: {operand}")
        return operand

    def passed(self, environment: dict[str, str | None]) -> dict[str, str]:
        """The environment of a service: a name without a value has that of the variable, or is absent."""
        for name in (name for name, value in environment.items() if value is None):
            self.read.setdefault(name, set()).add("")
        given = {name: self.get(name) if value is None else value for name, value in environment.items()}
        return {name: value for name, value in given.items() if value is not None}


def _closing(text: str) -> int:
    """Where the brace closes that the text begins with."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return place
    raise AssertionError(f"{text} does not end")


class Compose:
    """One or several compose files, of which the later ones add to the services of the first."""

    def __init__(self, *names: str, needs: Mapping[str, str]) -> None:
        self._documents = [yaml.safe_load((ROOT / name).read_text()) for name in names]
        self._needs = needs

    def document(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The whole; Refused if a variable is missing."""
        return self._read(Variables(environment))

    def services(self, **environment: str) -> dict[str, dict[str, Any]]:
        """Every service, with what the file needs and what `environment` says."""
        return self.document({**self._needs, **environment})["services"]  # type: ignore[no-any-return]

    @property
    def variables(self) -> dict[str, set[str]]:
        """The variables that it reads, each with its operators (`-`, `?` or nothing)."""
        variables = Variables(self._needs)
        self._read(variables)
        return variables.read

    @property
    def defaults(self) -> dict[str, str]:
        """The variables that have one here."""
        variables = Variables(self._needs)
        self._read(variables)
        return variables.defaults

    def _read(self, variables: Variables) -> dict[str, Any]:
        first, *others = (variables.interpolate(document) for document in self._documents)
        for other in others:
            for name, more in other["services"].items():
                first["services"][name] |= more
        for service in first["services"].values():
            service["environment"] = variables.passed(service["environment"])
        return first  # type: ignore[no-any-return]
