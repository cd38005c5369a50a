"""Who may do what: every endpoint of the OpenAPI document, without a key, with each role, with another owner's key."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from service.app import described

OPEN = {"GET /healthz", "GET /readyz", "POST /v1/login"} | {
    f"{method} /v1/session" for method in ("POST", "GET", "DELETE")
}
ADMIN_ONLY = re.compile(r"(POST|GET|DELETE) /v1/(keys|login_links)|POST /v1/workers")
SHARED = re.compile(r"/v1/(workers|presets)")
"""What belongs to nobody: everybody sees the workers and the presets."""
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, operations in described().openapi()["paths"].items()
    for method, operation in operations.items()
}
GUARDED = [name for name in OPERATIONS if name not in OPEN]
WRITING = [name for name in GUARDED if not name.startswith("GET")]
OWNED = [name for name in GUARDED if "{" in name and not SHARED.search(name) and not ADMIN_ONLY.match(name)]
BODIES: dict[str, Any] = {
    "POST /v1/jobs": {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "resources": {"gpus": 1}},
    "PATCH /v1/jobs/{job_id}": {"name": "another"},
    "POST /v1/jobs/{job_id}/extend": {"steps": 1},
    "POST /v1/webhooks": {"url": "https://example.com/"},
    "PATCH /v1/webhooks/{webhook_id}": {"enabled": False},
    "POST /v1/keys": {"owner": "nobody"},
}


@pytest.fixture(scope="module")
def ids(server: Any) -> Iterator[dict[str, str]]:
    """Things of the admin, of each kind."""
    with server.client() as http:
        job = server.wait(server.submit(steps=1)["id"])["id"]
        (checkpoint,) = http.get(f"/v1/jobs/{job}/checkpoints").json()["data"]
        hook = http.post("/v1/webhooks", json={"url": "https://example.com/"}).json()["id"]
        uploaded = http.post("/v1/files", files={"file": ("rows.jsonl", b'{"text": "a"}')}).json()["id"]
        http.post(f"/v1/webhooks/{hook}/test")
        (delivery,) = http.get(f"/v1/webhooks/{hook}/deliveries").json()["data"]
        yield {
            "job_id": job,
            "checkpoint_id": checkpoint["id"],
            "file_id": uploaded,
            "webhook_id": hook,
            "delivery_id": delivery["id"],
            "key_id": http.post("/v1/keys", json={"owner": "nobody"}).json()["id"],
            "worker_id": http.get("/v1/workers").json()["data"][0]["id"],
            "name": checkpoint["files"][0]["name"],
        }
        http.delete(f"/v1/webhooks/{hook}")


def ask(server: Any, name: str, ids: dict[str, str], key: str | None) -> httpx2.Response:
    """A request that would be right with another key."""
    names = {**ids, "name": "dapo"} if "presets" in name else ids
    method, path = name.format(**names).split(" ")
    options: dict[str, Any] = {"json": BODIES[name]} if name in BODIES else {}
    if name == "POST /v1/files":
        options = {"files": {"file": ("rows.jsonl", b'{"text": "a"}')}}
    headers = {} if key is None else {b"authorization": f"Bearer {key}".encode("latin-1")}
    with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as http:
        return http.request(method, path, **options)


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


@pytest.fixture(scope="module")
def keys(server: Any) -> dict[str, str]:
    return {role: server.another_key("eve", role) for role in ("viewer", "member")}


def test_the_document_says_which_endpoints_need_a_key() -> None:
    assert {name for name, operation in OPERATIONS.items() if "security" not in operation} == OPEN


@pytest.mark.parametrize("name", GUARDED)
def test_without_a_key_nothing_is_answered(server: Any, ids: dict[str, str], name: str) -> None:
    refused(ask(server, name, ids, None), 401, "missing_api_key")
    refused(ask(server, name, ids, "hone-wrong"), 401, "invalid_api_key")
    refused(ask(server, name, ids, "\xff"), 401, "invalid_api_key")


@pytest.mark.parametrize("name", WRITING)
def test_a_viewer_changes_nothing(server: Any, ids: dict[str, str], keys: dict[str, str], name: str) -> None:
    assert "403" in OPERATIONS[name]["responses"]
    refused(ask(server, name, ids, keys["viewer"]), 403, "forbidden")


@pytest.mark.parametrize("name", [name for name in GUARDED if ADMIN_ONLY.match(name)])
def test_a_member_does_nothing_that_is_for_admins(
    server: Any, ids: dict[str, str], keys: dict[str, str], name: str
) -> None:
    refused(ask(server, name, ids, keys["member"]), 403, "forbidden")


@pytest.mark.parametrize("name", OWNED)
def test_what_belongs_to_another_owner_is_not_there(
    server: Any, ids: dict[str, str], keys: dict[str, str], name: str
) -> None:
    for role in ("member", "viewer") if name.startswith("GET") else ("member",):
        answer = ask(server, name, ids, keys[role])
        assert answer.status_code == 404 and answer.json()["error"]["code"].endswith("_not_found"), answer.text
        assert "404" in OPERATIONS[name]["responses"]


@pytest.mark.parametrize("name", [name for name in GUARDED if name.startswith("GET") and "{" not in name])
def test_a_list_has_nothing_of_another_owner(server: Any, ids: dict[str, str], keys: dict[str, str], name: str) -> None:
    if SHARED.search(name) or ADMIN_ONLY.match(name):
        return
    assert ask(server, name, ids, keys["member"]).json()["data"] == []


def test_whoever_may_is_answered(server: Any, ids: dict[str, str]) -> None:
    for name in GUARDED:
        if name.startswith("GET") and not name.endswith("/stream"):
            assert ask(server, name, ids, server.key).status_code == 200, name
