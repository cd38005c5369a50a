"""The sessions of browsers: a cookie in place of a key, and what it vouches for."""

from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers

from service.api.cookies import secret_of

EVIL = [
    {},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://["},
    {"origin": "http://127.0.0.1:1"},  # another port of this host
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "none"},
]


@pytest.fixture
def browser(server: Any, http: httpx2.Client) -> Any:
    """A client that has logged in with a link, and then has its cookie only."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        token = http.post("/v1/login_links").json()["token"]
        answer = client.post("/v1/session", json={"token": token}, headers={"origin": server.url})
        assert answer.status_code == 201 and set(answer.json()) == {"object", "owner", "role", "expires_at"}
        assert "secret" not in answer.text and "hone-" not in answer.text
        yield client


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(server: Any) -> None:
    with httpx2.Client(base_url=server.url) as client:
        for scheme, secure in (("http", False), ("https", True)):  # as a proxy of this machine reports it
            headers = {"origin": server.url.replace("http:", f"{scheme}:"), "x-forwarded-proto": scheme}
            answer = client.post("/v1/session", json={"key": server.key}, headers=headers)
            first, *attributes = answer.headers["set-cookie"].split("; ")
            assert first == f"hone-session-{client.base_url.port}={server.key}"
            assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
            assert ("Secure" in attributes) == secure


def test_the_cookie_is_of_the_prefix(server: Any) -> None:
    headers = {"origin": server.url, "x-forwarded-prefix": "/hone"}
    answer = httpx2.post(f"{server.url}/v1/session", json={"key": server.key}, headers=headers)
    assert "; Path=/hone;" in answer.headers["set-cookie"] + ";"


def test_a_session_reads_and_says_who_it_is(browser: httpx2.Client) -> None:
    assert browser.get("/v1/jobs").status_code == 200
    assert browser.get("/v1/session").json()["role"] == "admin"


def test_without_a_session_it_is_nobodys(server: Any, http: httpx2.Client) -> None:
    nobody = {"object": "session", "owner": None, "role": None, "expires_at": None}
    assert httpx2.get(f"{server.url}/v1/session").json() == nobody
    assert httpx2.get(f"{server.url}/v1/session", headers={"authorization": "Bearer hone-x"}).json() == nobody
    assert http.get("/v1/session").json()["owner"] == "admin"


@pytest.mark.parametrize("headers", EVIL, ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_session_changes_nothing_for_another_page(
    browser: httpx2.Client, http: httpx2.Client, waiting: Any, method: str, headers: dict[str, str]
) -> None:
    job = waiting()["id"]
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/cancel", "/v1/session"):
        refused = browser.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "cross_origin")
    assert http.get(f"/v1/jobs/{job}").json()["status"] == "queued"
    assert browser.get("/v1/session").json()["owner"] == "admin"


@pytest.mark.parametrize("by", ["origin", "sec-fetch-site"])
def test_a_session_changes_what_a_page_of_this_host_asks_for(
    browser: httpx2.Client, server: Any, waiting: Any, by: str
) -> None:
    """Sec-Fetch-Site also counts where a proxy has replaced the Host."""
    headers = (
        {"origin": server.url} if by == "origin" else {"sec-fetch-site": "same-origin", "origin": "https://public"}
    )
    assert browser.post(f"/v1/jobs/{waiting()['id']}/cancel", headers=headers).json()["status"] == "cancelled"


@pytest.mark.parametrize("headers", EVIL[:5], ids=str)
def test_a_key_in_the_header_needs_no_origin(http: httpx2.Client, waiting: Any, headers: dict[str, str]) -> None:
    assert http.post(f"/v1/jobs/{waiting()['id']}/cancel", headers=headers).status_code == 200


def test_no_other_page_can_log_a_browser_in(server: Any) -> None:
    """Else what the user submits would belong to somebody else."""
    refused = httpx2.post(f"{server.url}/v1/session", json={"key": server.key}, headers={"origin": "https://evil"})
    assert refused.status_code == 403 and "set-cookie" not in refused.headers


def test_logging_out_revokes_the_key_of_the_session(browser: httpx2.Client, server: Any) -> None:
    (secret,) = browser.cookies.values()
    assert browser.get("/v1/jobs").status_code == 200
    assert browser.delete("/v1/session", headers={"origin": server.url}).status_code == 204
    assert not browser.cookies
    copy = httpx2.get(f"{server.url}/v1/jobs", headers={"authorization": f"Bearer {secret}"})
    assert copy.status_code == 401
    assert browser.delete("/v1/session", headers={"origin": server.url}).status_code == 204


@pytest.mark.parametrize("body", [{}, {"token": "a", "key": "b"}, {"secret": "a"}, {"key": 3}, {"key": "x" * 201}])
def test_a_log_in_with_anything_else_is_refused(server: Any, body: dict[str, Any]) -> None:
    answer = httpx2.post(f"{server.url}/v1/session", json=body, headers={"origin": server.url})
    assert answer.status_code == 422 and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("host", "cookie", "secret"),
    [
        ("127.0.0.1:8000", "hone-session-8000=a; hone-session-8001=b", "a"),
        ("127.0.0.1:8001", "hone-session-8000=a; hone-session-8001=b", "b"),
        ("example.org", "hone-session=a; hone-session=b", "a"),  # the one with the longer path comes first
        ("[::1]:8000", "hone-session-8000=a", "a"),
        ("[::1]", "hone-session=a", "a"),
        ("example.org", "other=x;hone-session=a==", "a=="),
        ("example.org", "hone-session=", None),
        ("example.org", "hone-session", None),
        ("example.org", "", None),
    ],
)
def test_each_port_has_a_cookie_of_its_own(host: str, cookie: str, secret: str | None) -> None:
    assert secret_of(Headers({"host": host, "cookie": cookie})) == secret
