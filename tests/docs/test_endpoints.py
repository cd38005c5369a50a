"""Endpoints that the documentation names are in the OpenAPI document, with their method and parameters."""

import re
import shlex
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from service.app import described

PAGES = {"/docs", "/openapi.json"}  # FastAPI's own


class Call(NamedTuple):
    """A request that a document shows; `method` is empty where it shows none."""

    line: str
    method: str
    path: str
    query: list[str]


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    return dict(described().openapi()["paths"])


def of_curl(line: str) -> Call:
    """What a curl command asks for."""
    words = shlex.split(line)
    url = urlsplit(next(word for word in words if word.startswith("$URL")).removeprefix("$URL"))
    posts = any(word in ("--json", "-F", "-d") for word in words)
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if posts else "GET"
    return Call(line, method, url.path, list(parse_qs(url.query)))


def calls(document: Any) -> list[Call]:
    requests = []
    for line in document.commands():
        if line.startswith("curl"):
            requests.append(of_curl(line))
        elif match := re.fullmatch(r"(?:(GET|POST|PUT|PATCH|DELETE) )?(/(?:v1/|healthz|readyz|docs|openapi)\S*)", line):
            requests.append(Call(line, match[1] or "", match[2], []))
    return requests


def matching(path: str, paths: dict[str, Any]) -> str | None:
    """The path of the OpenAPI document that is meant; `$JOB` and `{id}` stand for any value."""
    segments = [None if re.match(r"[${]", segment) else segment for segment in path.split("/")]
    for known in paths:
        theirs = [None if segment.startswith("{") else segment for segment in known.split("/")]
        if theirs == segments:
            return known
    return None


def test_every_endpoint_that_is_named_exists_with_its_method_and_parameters(
    documents: Any, paths: dict[str, Any]
) -> None:
    for document in documents:
        for call in calls(document):
            if call.path in PAGES:
                continue
            known = matching(call.path, paths)
            where = f"{document.name}: `{call.line}`"
            assert known, f"{where}: no endpoint {call.path}; see python -m service.openapi"
            assert not call.method or call.method.lower() in paths[known], f"{where}: {known} has {list(paths[known])}"
            operation = paths[known].get(call.method.lower(), {})
            parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert set(call.query) <= parameters, f"{where}: {known} takes {sorted(parameters)}"
