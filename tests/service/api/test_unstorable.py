"""Text and numbers that PostgreSQL or UTF-8 cannot hold are refused with their field, wherever a request has them."""

import json
from typing import Any

import httpx2
import pytest

GOOD: dict[str, Any] = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "steps": 1}
NUL, HALF, OTHER_HALF = "a\x00b", "a\ud800b", "\udfff"
REGEX = {"algorithm": {"type": "grpo"}, "rewards": [{"type": "math"}, {"type": "regex", "pattern": NUL}]}


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


def sent(http: httpx2.Client, method: str, path: str, document: Any) -> httpx2.Response:
    body = json.dumps(document).encode()  # with escapes: a client that encodes to UTF-8 could not send these
    return http.request(method, path, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize("text", [NUL, HALF, OTHER_HALF])
@pytest.mark.parametrize("field", ["name", "model", "tags.run", "depends_on.0", "dataset.source", "algorithm.preset"])
def test_no_field_of_a_spec_may_have_such_text(http: httpx2.Client, field: str, text: str) -> None:
    first, _, rest = field.partition(".")
    inner = GOOD.get(first, {})
    value: Any = text if not rest else [text] if rest.isdigit() else {**inner, rest: text}
    error = refusal(sent(http, "POST", "/v1/jobs", GOOD | {first: value}), 422)
    assert error["param"] == field
    assert ("U+0000" if text == NUL else "surrogate") in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "document", "param"),
    [
        ("POST", "/v1/jobs", GOOD | REGEX, "rewards.1.pattern"),
        ("POST", "/v1/jobs", GOOD | {"tags": {HALF: "x"}}, "tags.a\\ud800b"),
        ("POST", "/v1/jobs", GOOD | {NUL: 1}, "a\x00b"),
        ("POST", "/v1/jobs", GOOD | {"steps": 2**63}, "steps"),
        ("POST", "/v1/jobs", GOOD | {"optimizer": {"warmup_steps": 2**63}}, "optimizer.warmup_steps"),
        ("POST", "/v1/jobs/ftjob-X/clone", {"optimizer": {"x": [1, {"y": NUL}]}}, "optimizer.x.1.y"),
        ("PATCH", "/v1/jobs/ftjob-X", {"name": HALF}, "name"),
        ("PATCH", "/v1/jobs/ftjob-X", {"priority": -(2**63) - 1}, "priority"),
        ("POST", "/v1/keys", {"owner": NUL}, "owner"),
        ("POST", "/v1/keys", {"owner": "x", "max_queued": 10**30}, "max_queued"),
        ("POST", "/v1/webhooks", {"url": f"https://example.com/{HALF}"}, "url"),
        ("POST", "/v1/login", {"token": HALF}, "token"),
        ("POST", "/v1/login", {"token": NUL}, "token"),
    ],
)
def test_no_body_may_have_such_values(
    http: httpx2.Client, method: str, path: str, document: dict[str, Any], param: str
) -> None:
    assert refusal(sent(http, method, path, document), 422)["param"] == param


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/jobs/a%00b", "job_id"),
        ("/v1/jobs/a%00b/stream", "job_id"),
        ("/v1/jobs/a%00b/metrics", "job_id"),
        ("/v1/checkpoints/%00", "checkpoint_id"),
        ("/v1/checkpoints/x/files/%00", "name"),
        ("/v1/files/%00", "file_id"),
        ("/v1/presets/%00", "name"),
        ("/v1/webhooks/%00/deliveries/%00", "webhook_id"),
        ("/v1/workers/%00", "worker_id"),
        ("/v1/jobs/%ED%A0%80", "job_id"),  # half of a surrogate pair in what is not UTF-8
    ],
)
def test_an_id_with_such_text_names_nothing(http: httpx2.Client, path: str, param: str) -> None:
    assert refusal(http.get(path), 404)["param"] == param


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/jobs?after=%00", "after"),
        ("/v1/jobs?algorithm=%00", "algorithm"),
        ("/v1/files?after=a%00", "after"),
        ("/v1/keys?after=%00", "after"),
        ("/v1/webhooks?after=%00", "after"),
        ("/v1/queue?after=9223372036854775808", "after"),
        (f"/v1/queue?after={'9' * 5000}", "after"),
        ("/v1/jobs/JOB/events?after=9223372036854775808", "after"),
        ("/v1/jobs/JOB/events?kind=log&kind=%00", "kind"),
        ("/v1/jobs/JOB/logs?after=99999999999999999999999", "after"),
        ("/v1/jobs/JOB/stream?after=9223372036854775808", "after"),
        ("/v1/jobs/JOB/metrics?names=%00", "names"),
        ("/v1/jobs/JOB/metrics?from_step=9223372036854775808", "from_step"),
        ("/v1/jobs/JOB/metrics?to_step=9223372036854775808", "to_step"),
        ("/v1/jobs/JOB/samples?step=9223372036854775808", "step"),
        ("/v1/jobs/JOB/samples?after=9223372036854775808", "after"),
        ("/v1/jobs/JOB/samples?after=-9223372036854775809", "after"),
        ("/v1/jobs/JOB/samples?min_reward=nan", "min_reward"),
        ("/v1/jobs/JOB/samples?max_reward=inf", "max_reward"),
    ],
)
def test_no_query_may_have_such_values(http: httpx2.Client, waiting: Any, path: str, param: str) -> None:
    job = waiting()["id"] if "JOB" in path else ""
    assert refusal(http.get(path.replace("JOB", job)), 422)["param"] == param


def test_no_header_may_have_such_numbers(http: httpx2.Client, waiting: Any) -> None:
    stream = http.get(f"/v1/jobs/{waiting()['id']}/stream", headers={"last-event-id": "9223372036854775808"})
    assert refusal(stream, 422)["param"] == "last-event-id"
    again = http.post("/v1/jobs", json=GOOD, headers={"x-stainless-retry-count": "9223372036854775808"})
    assert refusal(again, 422)["param"] == "x-stainless-retry-count"


def upload(http: httpx2.Client, filename: bytes, purpose: bytes) -> httpx2.Response:
    body = (
        b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n' + purpose + b"\r\n"
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="' + filename + b'"\r\n\r\n{"text": "a"}\n\r\n'
        b"--x--\r\n"
    )
    return http.post("/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"})


def test_no_form_may_have_such_text(http: httpx2.Client) -> None:
    assert upload(http, b"rows.jsonl", b"fine-tune").status_code == 201
    assert refusal(upload(http, b"rows.jsonl", b"fine\x00tune"), 422)["param"] == "purpose"
    assert upload(http, b"a\x00b.jsonl", b"fine-tune").status_code in (400, 422)
    assert upload(http, b"\xed\xa0\x80.jsonl", b"fine-tune").status_code in (201, 422)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"tags":[', b'{"dataset":{"prompts":'])
@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
def test_a_body_that_is_nested_too_deeply_is_refused(http: httpx2.Client, opening: bytes, depth: int) -> None:
    closing = b"".join({b"[": b"]", b"{": b"}"}[bytes([byte])] for byte in reversed(opening) if byte in b"[{")
    for path in ("/v1/jobs", "/v1/jobs/ftjob-X/clone", "/v1/login"):
        body = opening * depth + b"1" + closing * depth
        answer = http.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413 or "nested too deeply" in refusal(answer, 422)["message"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"steps": ' + b"9" * 5000 + b"}", 422, "thousands of digits"),
        (b'{"steps": 1, "steps": 2}', 422, "'steps' twice"),
        (b'{"name": "\xff"}', 400, "not UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', 422, "half of a surrogate pair"),
        (b'{"name": "a\x00b"}', 400, "not JSON"),
        (b"", 422, "equired"),
        (b"null", 422, ""),
        (b"[]", 422, ""),
        (b'"x"', 422, ""),
    ],
)
def test_a_body_that_is_no_document_is_refused(http: httpx2.Client, body: bytes, status: int, reason: str) -> None:
    answer = http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert reason in refusal(answer, status)["message"]


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        ("/v1/keys", {"owner": "x", "max_gpus": False}, "max_gpus"),
        ("/v1/keys", {"owner": "x", "max_gpus": "0"}, "max_gpus"),
        ("/v1/keys", {"owner": 1}, "owner"),
        ("/v1/jobs", GOOD | {"steps": True}, "steps"),
        ("/v1/jobs", GOOD | {"steps": "3"}, "steps"),
        ("/v1/jobs", GOOD | {"packing": 1}, "packing"),
        ("/v1/jobs", GOOD | {"packing": "yes"}, "packing"),
        ("/v1/jobs", GOOD | {"optimizer": {"weight_decay": True}}, "optimizer.weight_decay"),
        ("/v1/jobs", GOOD | {"tags": {"a": 1}}, "tags.a"),
    ],
)
def test_a_value_of_another_type_is_not_converted(
    http: httpx2.Client, path: str, document: dict[str, Any], param: str
) -> None:
    assert refusal(http.post(path, json=document), 422)["param"] == param


def test_a_whole_number_may_be_written_as_a_float_and_a_float_as_yaml_does(http: httpx2.Client) -> None:
    document = GOOD | {"steps": 2.0, "optimizer": {"learning_rate": "1e-3"}, "resources": {"gpus": 1}}
    job = http.post("/v1/jobs", json=document).json()
    assert job["spec"]["steps"] == 2 and job["spec"]["optimizer"]["learning_rate"] == 1e-3
    http.post(f"/v1/jobs/{job['id']}/cancel")
