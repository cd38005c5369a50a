"""Methods, parameters and cursors: what an endpoint does not have is told, not ignored."""

from typing import Any

import httpx2
import pytest


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/v1/jobs", "/v1/jobs/JOB", "/v1/jobs/JOB/metrics", "/v1/jobs/ftjob-X", "/", "/openapi.json", "/v1/x"],
)
def test_head_is_answered_as_get(http: httpx2.Client, waiting: Any, path: str) -> None:
    path = path.replace("JOB", waiting()["id"]) if "JOB" in path else path
    head, got = http.head(path), http.get(path)
    assert head.status_code == got.status_code and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("etag") == got.headers.get("etag")
    if "queue_position" not in got.text:  # whose estimates change
        assert head.headers["content-length"] == got.headers["content-length"]


def test_head_of_a_stream_ends(http: httpx2.Client, waiting: Any) -> None:
    answer = http.head(f"/v1/jobs/{waiting()['id']}/stream")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert http.get("/healthz").status_code == 200  # on the same connection


@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("PUT", "/v1/jobs", "HEAD, GET, POST"),
        ("DELETE", "/v1/jobs", "HEAD, GET, POST"),
        ("POST", "/v1/jobs/ftjob-X", "HEAD, GET, PATCH, DELETE"),
        ("HEAD", "/v1/login", "POST"),
        ("GET", "/v1/login", "POST"),
        ("OPTIONS", "/v1/keys/x", "DELETE"),
        ("TRACE", "/v1/queue", "HEAD, GET"),
        ("POST", "/healthz", "HEAD, GET"),
        ("POST", "/", "HEAD, GET"),
        ("POST", "/assets/x.js", "HEAD, GET"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_405_with_those_it_has(
    http: httpx2.Client, method: str, path: str, methods: str
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 405 and answer.headers["allow"] == methods
    if method != "HEAD":
        assert refusal(answer, 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nonsense", "/v1/jobs/", "/v1/jobs/x/nonsense", "/nonsense"])
def test_a_path_that_is_not_there_is_404_for_every_method(http: httpx2.Client, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert refusal(http.request(method, path), 404)["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("path", "param", "remedy"),
    [
        ("/v1/jobs?offset=3", "offset", "those here are after, algorithm, limit, owner, status, tag"),
        ("/v1/jobs?stat=queued", "stat", "did you mean 'status'?"),
        ("/v1/jobs/ftjob-X?limit=1", "limit", "those here are none"),
        ("/v1/queue?before=1", "before", "those here are after, limit"),
        ("/v1/presets?limit=1", "limit", "those here are none"),
        ("/v1/jobs?limit=1&limit=2", "limit", "twice"),
        ("/healthz?verbose=1", "verbose", "those here are none"),
    ],
)
def test_a_query_parameter_that_nobody_reads_is_refused(
    http: httpx2.Client, path: str, param: str, remedy: str
) -> None:
    error = refusal(http.get(path), 422)
    assert error["param"] == param and remedy in error["message"]


def test_jobs_are_listed_by_owner_and_by_tags(server: Any, http: httpx2.Client, waiting: Any) -> None:
    def found(client: httpx2.Client, **query: Any) -> set[str]:
        return {job["id"] for job in client.get("/v1/jobs", params={"limit": 100, **query}).json()["data"]}

    one = waiting(tags={"filtered": "a", "run": "1=2"})["id"]
    two = waiting(tags={"filtered": "b"})["id"]
    assert found(http, tag="filtered") == {one, two}
    assert found(http, tag="filtered=a") == found(http, tag=["filtered", "run=1=2"]) == {one}
    assert found(http, tag="filtered=") == found(http, tag="filtered=A") == found(http, tag="no") == set()
    mine = http.get(f"/v1/jobs/{one}").json()["owner"]
    assert {one, two} <= found(http, owner=mine) and found(http, owner="nobody") == set()
    with server.client(headers={"authorization": f"Bearer {server.another_key('eve')}"}) as eve:
        assert found(eve, owner=mine) == found(eve, tag="filtered") == set()


def test_lists_of_jobs_leave_their_specs_out(http: httpx2.Client, waiting: Any) -> None:
    job = waiting()
    (listed,) = http.get("/v1/jobs", params={"limit": 1}).json()["data"]
    assert listed["id"] == job["id"] and set(job) - set(listed) == {"spec"}


LISTS = ["/v1/jobs", "/v1/files", "/v1/webhooks", "/v1/keys", "/v1/webhooks/HOOK/deliveries"]


@pytest.mark.parametrize("path", [*LISTS, "/v1/queue", "/v1/jobs/JOB/samples", "/v1/jobs/JOB/events"])
@pytest.mark.parametrize("after", ["nonsense", "ftjob-NOSUCH", "mp3-01KB3V5G8ZJ4Y0E7Q2M9T6W1XA", "", "-1", "1.5"])
def test_a_cursor_that_is_none_is_refused(http: httpx2.Client, waiting: Any, path: str, after: str) -> None:
    path = path.replace("JOB", waiting()["id"]) if "JOB" in path else path.replace("HOOK", "hook_X")
    assert refusal(http.get(path, params={"after": after}), 422)["param"] == "after"


def test_a_page_after_a_deleted_job_goes_on_where_it_was(http: httpx2.Client, waiting: Any) -> None:
    first, second, third = [waiting(tags={"pages": "x"})["id"] for _ in range(3)]
    http.post(f"/v1/jobs/{second}/cancel")
    assert http.delete(f"/v1/jobs/{second}").status_code == 204
    page = http.get("/v1/jobs", params={"tag": "pages", "after": second}).json()
    assert [job["id"] for job in page["data"]] == [first]
    assert [job["id"] for job in http.get("/v1/jobs", params={"tag": "pages"}).json()["data"]] == [third, first]


def test_a_cursor_of_anothers_job_tells_nothing(server: Any, http: httpx2.Client, waiting: Any) -> None:
    job = waiting()["id"]
    with server.client(headers={"authorization": f"Bearer {server.another_key('eve')}"}) as eve:
        assert eve.get("/v1/jobs", params={"after": job}).json()["data"] == []
