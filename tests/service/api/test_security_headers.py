"""What a browser may do with an answer of Hone is said by every answer."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from service.api.routers import ALL
from service.app import described

ANY = "x"
EVERY_ANSWER = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def check(answer: httpx2.Response) -> None:
    """Its headers, each once."""
    where = f"{answer.request.method} {answer.request.url} {answer.status_code}"
    for name, value in EVERY_ANSWER.items():
        assert answer.headers.get_list(name) == [value], where
    (policy,) = answer.headers.get_list("content-security-policy")
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["frame-ancestors"] == "'none'", where
    assert directives["default-src"] == "'self'" and "script-src" not in directives, where
    assert "camera=()" in answer.headers["permissions-policy"], where
    assert answer.headers["x-request-id"], where


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of everything that the application serves."""
    for route in [*described().routes, *(route for router in ALL for route in router.routes)]:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/{ANY}"
        elif isinstance(route, Route):
            for method in sorted(route.methods or ()):
                yield method, route.path.replace(":path", "").replace("{", "").replace("}", "")


def test_every_route_has_the_headers(server: Any) -> None:
    served = list(routes())
    assert ("GET", "/") in served and ("GET", "/v1/jobs/job_id/stream") in served and len(served) > 40
    with httpx2.Client(base_url=server.url, timeout=60) as stranger:  # refused where it matters: nothing is changed
        for method, path in served:
            check(stranger.request(method, path))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("TRACE", "/v1/jobs", 405), ("GET", "/v1/jobs?limit=many", 422), ("GET", "/docs/", 404)],
)
def test_refusals_have_them_too(http: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    check(answer)


def test_a_body_that_is_too_long_is_refused_with_them(http: httpx2.Client) -> None:
    answer = http.post("/v1/jobs", content=b" " * (5 * 2**20))
    assert answer.status_code == 413
    check(answer)


def test_an_internal_error_has_them_and_its_request_id() -> None:
    app = described()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("for this test")

    answer = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert answer.status_code == 500
    check(answer)
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]


def test_an_event_stream_has_them_at_once(server: Any, http: httpx2.Client, waiting: Any) -> None:
    """The job waits: a layer that gathers the answer would never send its start."""
    with http.stream("GET", f"/v1/jobs/{waiting()['id']}/stream") as answer:
        check(answer)
        assert "status" in next(answer.iter_text())
