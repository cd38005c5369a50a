"""Every endpoint answers what its description says, whatever it is sent.

Requests are made from the OpenAPI document: right ones, wrong ones, and such as break parsers and databases. They are
the same in every run.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks

from service.app import described

SCHEMA: Any = schemathesis.openapi.from_dict(described().openapi())
FOUND = [result.ok() for result in SCHEMA.get_all_operations()]
FOUND.sort(key=lambda operation: operation.method == "delete")  # last: the others should meet what is there
OPERATIONS = {f"{operation.method.upper()} {operation.path}": operation for operation in FOUND}
FOR_ADMINS = ("/v1/keys", "/v1/login_links", "/v1/workers")
NEVER_RUNS = {"gpus": 1}
SPEC = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "resources": NEVER_RUNS}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
REFUSED_BY_UVICORN = b"Invalid HTTP request received."
FEW = settings(
    max_examples=12,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


TEXTS = ["\x00", "a\x00b", "\ud800", "\udfff\ud800", "", " ", "x" * 3000, "../../etc", "%00", "\u202e\ufeff\U0010ffff"]
NUMBERS = [2**31, 2**63, -(2**63) - 1, 10**40, 1e308, -0.0, float("nan"), float("inf"), True, -1]
OTHERS: list[Any] = [None, [], {}, [[]], {"\x00": "\ud800"}, [{}] * 100]
HOSTILE: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, *NUMBERS, *OTHERS])
BODIES = st.sampled_from(
    [
        *(nested(*ends, depth) for depth in (200, 1200, 60_000) for ends in (("[", "]"), ('{"a":', "}"))),
        *(
            "",
            " ",
            "null",
            "0",
            '"',
            "{",
            '{"a":1,"a":2}',
            '{"a": ' + "9" * 9000 + "}",
            "\ufeff{}",
            "\x00",
            "NaN",
            "<a/>",
        ),
    ]
)
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "application/problem+json",
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "nonsense",
        "",
    ]
)


@dataclass
class Caller:
    """Who sends requests, and what is there to be named: all of it is the caller's."""

    url: str
    member: str
    admin: str
    ids: dict[str, list[str]]
    log: Path
    logged: int
    """Bytes of the log before the first request."""

    def headers(self, path: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.admin if path.startswith(FOR_ADMINS) else self.member}"}

    def named(self, case: Case[Any]) -> st.SearchStrategy[dict[str, str]]:
        """Values of the parameters of a path: what is there, what is not, and what cannot be."""
        known = {"job_id": self.ids["ended"]} if case.path.endswith("/stream") else self.ids
        names = list(case.path_parameters)
        return st.fixed_dictionaries(
            {name: st.sampled_from([*known.get(name, ()) * 3, "x", "a\x00b"]) for name in names}
        )


@pytest.fixture(scope="module")
def caller(server: Any) -> Iterator[Caller]:
    with server.client() as admin:
        spare = admin.post("/v1/keys", json={"owner": "fuzzing", "role": "viewer"}).json()["id"]
        limited = {"owner": "fuzzing", "max_queued": 6}
        member = admin.post("/v1/keys", json=limited).json()["secret"]
    with server.client(headers={"authorization": f"Bearer {member}"}) as http:
        queued, ended = [http.post("/v1/jobs", json=SPEC | {"seed": seed}).json()["id"] for seed in (1, 2)]
        http.post(f"/v1/jobs/{ended}/cancel")
        uploaded = http.post("/v1/files", files={"file": ("rows.jsonl", b'{"text": "a"}')}).json()["id"]
        hook = http.post("/v1/webhooks", json={"url": "https://example.com/"}).json()["id"]
        ids = {
            "job_id": [queued, ended],
            "ended": [ended],
            "file_id": [uploaded],
            "webhook_id": [hook],
            "key_id": [spare],
        }
        ids |= {"key_id": [spare], "name": ["dapo", "config.json"]}
        log = server.data_dir / "logs" / "api.log"
        yield Caller(server.url, member, server.key, ids, log, log.stat().st_size)
        for job in http.get("/v1/jobs", params={"limit": 100}).json()["data"]:
            http.post(f"/v1/jobs/{job['id']}/cancel")
        for webhook in http.get("/v1/webhooks", params={"limit": 100}).json()["data"]:
            http.delete(f"/v1/webhooks/{webhook['id']}")


def tamed(case: Case[Any], path_parameters: dict[str, str]) -> Case[Any]:
    """The case for things that are there; a job that is made never runs."""
    case.path_parameters = path_parameters
    case.headers.pop("authorization", None)
    if case.path == "/v1/jobs" and isinstance(case.body, dict):
        case.body = {**case.body, "resources": {"gpus": 1}}
    if case.path.endswith("/clone") and isinstance(case.body, dict):
        case.body.pop("resources", None)
    return case


RIGHT_AND_WRONG = [(name, GenerationMode.POSITIVE) for name in OPERATIONS] + [
    (name, GenerationMode.NEGATIVE)
    for name, operation in OPERATIONS.items()
    if operation.body or operation.query or operation.path_parameters or "security" in operation.definition.raw
]
"""Where nothing is sent, nothing can be wrong."""


@pytest.mark.parametrize(("name", "mode"), RIGHT_AND_WRONG, ids=lambda part: getattr(part, "value", part))
def test_an_answer_is_described(caller: Caller, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]

    @FEW
    @given(st.data(), operation.as_strategy(generation_mode=mode))
    def send(data: st.DataObject, case: Case[Any]) -> None:
        named = data.draw(caller.named(case)) if case.path_parameters else {}
        tamed(case, {part: value.replace("\x00", "%00") for part, value in named.items()})
        response = case.call(caller.url, headers=caller.headers(case.path), timeout=30)
        if response.content != REFUSED_BY_UVICORN:
            case.validate_response(response, checks=CHECKS)

    send()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in a document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@st.composite
def hostile(draw: st.DrawFn, caller: Caller, operation: Any) -> dict[str, Any]:
    """A right request with one thing that breaks parsers or databases: in its query, its body or its content type."""
    case: Case[Any] = draw(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    named = draw(caller.named(case)) if case.path_parameters else {}
    tamed(case, named)
    path = case.path
    for name, value in named.items():
        path = path.replace(f"{{{name}}}", value.replace("\x00", "%00"))
    query = {name: value for name, value in case.query.items() if value is not None}
    headers = caller.headers(case.path)
    request: dict[str, Any] = {"method": operation.method.upper(), "url": path, "headers": headers}
    known = [parameter.name for parameter in operation.query]
    if known and draw(st.sampled_from([False, True])):
        with suppress(UnicodeEncodeError):  # no client can send halves of surrogate pairs in an address
            query[draw(st.sampled_from(known))] = str(draw(HOSTILE)).encode().decode()
    if operation.body:
        document = case.body if isinstance(case.body, dict) else {}
        kind = draw(st.sampled_from(["value", "body", "content type"]))
        place = draw(st.sampled_from(list(places(document))[:50]))
        body = json.dumps(replaced(document, place, draw(HOSTILE)) if kind == "value" else document, default=str)
        request["content"] = (draw(BODIES) if kind == "body" else body).encode(errors="surrogatepass")
        headers["content-type"] = draw(CONTENT_TYPES) if kind == "content type" else "application/json"
    return request | {"params": query}


@pytest.mark.parametrize("name", OPERATIONS)
def test_hostile_values_are_refused_as_it_is_described(caller: Caller, name: str) -> None:
    operation = OPERATIONS[name]
    statuses = set(operation.definition.raw["responses"])

    with httpx2.Client(base_url=caller.url, timeout=30) as http:

        @FEW
        @given(hostile(caller, operation))
        def send(request: dict[str, Any]) -> None:
            answer = http.request(**request)
            if answer.content == REFUSED_BY_UVICORN:
                return
            assert str(answer.status_code) in statuses, f"{answer.status_code} to {request}: {answer.text[:500]}"
            assert answer.status_code < 500, f"{answer.status_code} to {request}"
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

        send()


def test_no_request_failed_inside(caller: Caller) -> None:
    logged = caller.log.read_bytes()[caller.logged :].decode()
    assert "a request failed" not in logged and "a value could not be stored" not in logged
