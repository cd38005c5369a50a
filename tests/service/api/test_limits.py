"""Nothing that a request stores is unbounded, so neither are the lists that show it."""

from typing import Any

import httpx2
import pytest

from hone.documents.validation import LENIENT
from service.domain.specs import JobSpec

GOOD: dict[str, Any] = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "steps": 1}


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "x" * 201}, "name"),
        ({"model": "x" * 501}, "model"),
        ({"tags": {"x": "y" * 501}}, "tags.x"),
        ({"tags": {"x" * 101: "y"}}, f"tags.{'x' * 101}"),
        ({"tags": {str(number): "" for number in range(17)}}, "tags"),
        ({"depends_on": ["x" * 201]}, "depends_on.0"),
        ({"depends_on": ["x"] * 65}, "depends_on"),
        ({"lora": {"target_modules": ["x"] * 65}}, "lora.target_modules"),
        ({"lora": {"modules_to_save": ["x" * 201]}}, "lora.modules_to_save.0"),
        ({"dataset": {"source": "linear-algebra", "tasks": ["trace"] * 65}}, "dataset.tasks"),
        ({"dataset": {"source": f"file-{'1' * 200}"}}, "dataset.source"),
        ({"rewards": [{"type": "regex", "pattern": "x" * 1001}]}, "rewards.0.pattern"),
        ({"rewards": [{"type": "tool_use", "expected": "x" * 201}]}, "rewards.0.expected"),
        ({"tools": {"functions": ["determinant"] * 65}}, "tools.functions"),
    ],
)
def test_a_field_of_a_spec_has_a_largest_length(http: httpx2.Client, change: dict[str, Any], param: str) -> None:
    assert refusal(http.post("/v1/jobs", json=GOOD | change), 422)["param"] == param


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        ("/v1/keys", {"owner": "x" * 101}, "owner"),
        ("/v1/login", {"token": "x" * 201}, "token"),
        ("/v1/webhooks", {"url": f"https://example.com/{'x' * 2000}"}, "url"),
        ("/v1/webhooks", {"url": "https://example.com/", "events": ["fine_tuning.job.failed"] * 33}, "events"),
    ],
)
def test_a_field_of_another_document_has_one_too(
    http: httpx2.Client, path: str, document: dict[str, Any], param: str
) -> None:
    assert refusal(http.post(path, json=document), 422)["param"] == param


def test_a_change_is_bounded_like_a_spec(http: httpx2.Client, waiting: Any) -> None:
    job = waiting()["id"]
    assert refusal(http.patch(f"/v1/jobs/{job}", json={"tags": {"x": "y" * 501}}), 422)["param"] == "tags.x"
    assert refusal(http.post(f"/v1/jobs/{job}/clone", json={"tags": {"x": "y" * 501}}), 422)["param"] == "tags.x"


def test_a_body_has_a_largest_size(http: httpx2.Client) -> None:
    assert refusal(http.post("/v1/jobs", json=GOOD | {"name": "x" * 2**18}), 413)["code"] == "too_large"


def upload(http: httpx2.Client, name: str, content: str) -> httpx2.Response:
    return http.post("/v1/files", files={"file": (name, content.encode())})


def test_what_a_list_of_files_shows_is_bounded(http: httpx2.Client) -> None:
    row = '{"prompt": "a", "completion": "b"'
    assert refusal(upload(http, "x" * 256, row + "}"), 422)["param"] == "file"
    many = "".join(f', "c{number}": 1' for number in range(255))
    assert "257 columns" in refusal(upload(http, "rows.jsonl", f"{row}{many}}}"), 422)["message"]
    assert "201 characters" in refusal(upload(http, "rows.jsonl", f'{row}, "{"x" * 201}": 1}}'), 422)["message"]


def test_a_stored_spec_that_is_longer_still_runs() -> None:
    longer = GOOD | {"tags": {"x" * 101: "y" * 501}, "lora": {"modules_to_save": ["x" * 201]}}
    assert JobSpec.model_validate(longer, context=LENIENT).tags == longer["tags"]


@pytest.fixture(scope="module")
def document(server: Any) -> dict[str, Any]:
    with server.client() as http:
        return dict(http.get("/openapi.json").json())


def unbounded(
    schema: dict[str, Any], document: dict[str, Any], path: str, seen: frozenset[str] = frozenset()
) -> list[str]:
    """The places of a request's schema that have no largest length."""
    found: list[str] = []
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [] if name in seen else unbounded(document["components"]["schemas"][name], document, path, seen | {name})
    for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found += unbounded(inner, document, path, seen)
    kind, is_id = schema.get("type"), schema.get("pattern", "").endswith("{26}$")
    closed = is_id or {"enum", "const", "format", "contentMediaType"} & set(schema)
    if kind == "string" and not closed and "maxLength" not in schema:
        found.append(path)
    if kind == "array":
        found += [path] * ("maxItems" not in schema) + unbounded(schema["items"], document, f"{path}.*", seen)
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        names = {"type": "string", **schema.get("propertyNames", {})}
        found += [path] * ("maxProperties" not in schema and "enum" not in names)
        found += unbounded(names, document, f"{path}.NAME", seen)
        found += unbounded(schema["additionalProperties"], document, f"{path}.*", seen)
    for name, inner in schema.get("properties", {}).items():
        found += unbounded(inner, document, f"{path}.{name}", seen)
    return found


def test_every_text_list_and_map_of_a_request_has_a_largest_length(document: dict[str, Any]) -> None:
    found: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["in"] != "path":  # which names something that is there, or nothing
                    found += unbounded(parameter["schema"], document, f"{where} {parameter['name']}")
            for content in operation.get("requestBody", {}).get("content", {}).values():
                found += unbounded(content["schema"], document, where)
    assert found == []
