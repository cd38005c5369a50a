"""Getting into the page, and keeping others out."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page of somebody else on this host: another origin and yet, to a browser, the same site."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,><p>theirs")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_login_link_leads_to_the_jobs_and_leaves_no_token_in_the_address(stranger: Any, http: httpx2.Client) -> None:
    token = http.post("/v1/login_links").json()["token"]
    stranger.show(f"/login/{token}")
    expect(stranger.page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert token not in stranger.page.url
    stranger.page.reload()
    expect(stranger.page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_login_link_works_once(stranger: Any, http: httpx2.Client) -> None:
    stranger.refusals_expected = True
    token = http.post("/v1/login_links").json()["token"]
    http.post("/v1/login", json={"token": token})
    stranger.show(f"/login/{token}")
    refusal = http.post("/v1/login", json={"token": token}).json()["error"]["message"]
    expect(stranger.page.get_by_role("alert")).to_have_text(refusal)


def test_a_wrong_key_is_refused_in_the_servers_words(stranger: Any) -> None:
    stranger.refusals_expected = True
    stranger.show("/login")
    stranger.page.get_by_label("API key").fill("hone-nobody")
    stranger.page.get_by_role("button", name="Sign in").click()
    expect(stranger.page.get_by_role("alert")).to_have_text("this API key is unknown, expired or revoked")


def test_a_link_to_a_job_shows_the_job_once_a_key_is_given(stranger: Any, waiting: Any) -> None:
    job = waiting(name="behind the door")
    stranger.show(f"/jobs/{job['id']}?tab=spec")
    stranger.page.get_by_label("API key").fill(stranger.server.key)
    stranger.page.keyboard.press("Enter")
    expect(stranger.page.get_by_role("heading", name="behind the door")).to_be_visible()
    expect(stranger.page.get_by_role("region", name="Spec")).to_contain_text("name: behind the door")


def test_signing_out_forgets_the_key(stranger: Any) -> None:
    stranger.show("/login")
    stranger.page.get_by_label("API key").fill(stranger.server.key)
    stranger.page.get_by_role("button", name="Sign in").click()
    stranger.page.get_by_role("button", name="Sign out").click()
    expect(stranger.page.get_by_label("API key")).to_be_visible()
    assert stranger.page.evaluate("localStorage.getItem('hone.key')") is None


def test_no_page_of_another_port_can_frame_hone(stranger: Any, elsewhere: str) -> None:
    stranger.refusals_expected = True
    stranger.page.goto(elsewhere)
    frame = "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))"
    with stranger.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        stranger.page.evaluate(frame, f"{stranger.server.url}/")
    expect(stranger.page.get_by_text("theirs")).to_be_visible()
    assert [frame.url.partition("//")[0] for frame in stranger.page.frames[1:]] == ["chrome-error:"]
    stranger.complaints.clear()  # the refusal to frame
