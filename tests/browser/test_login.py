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


def sign_in(tab: Any, http: httpx2.Client) -> None:
    """By a link, as users do."""
    tab.show(f"/login/{http.post('/v1/login_links').json()['token']}")
    expect(tab.page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(stranger: Any, http: httpx2.Client) -> None:
    sign_in(stranger, http)
    (cookie,) = stranger.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    copy = {"authorization": f"Bearer {cookie['value']}"}
    assert http.get("/v1/jobs", headers=copy).status_code == 200
    stranger.page.get_by_role("button", name="Sign out").click()
    expect(stranger.page.get_by_label("API key")).to_be_visible()
    assert stranger.page.context.cookies() == []
    assert http.get("/v1/jobs", headers=copy).status_code == 401


def test_signing_out_leaves_a_key_that_was_typed_to_its_other_uses(stranger: Any, http: httpx2.Client) -> None:
    stranger.show("/login")
    stranger.page.get_by_label("API key").fill(stranger.server.key)
    stranger.page.get_by_role("button", name="Sign in").click()
    stranger.page.get_by_role("button", name="Sign out").click()
    expect(stranger.page.get_by_label("API key")).to_be_visible()
    stranger.page.reload()
    expect(stranger.page.get_by_label("API key")).to_be_visible()
    assert http.get("/v1/jobs").status_code == 200


def test_a_script_in_the_page_cannot_read_the_key(stranger: Any, http: httpx2.Client) -> None:
    sign_in(stranger, http)
    (cookie,) = stranger.page.context.cookies()
    readable = stranger.page.evaluate("""async () => JSON.stringify([
        document.cookie, {...localStorage}, {...sessionStorage}, await indexedDB.databases(), location.href,
        document.documentElement.outerHTML, await (await fetch('/v1/session')).text(),
        await (await fetch('/v1/keys')).text(),
    ])""")
    assert cookie["value"] not in readable and "hone-" not in readable.replace("hone-session", "")
    assert "admin" in readable  # it did read what it may


def test_a_key_that_an_earlier_version_stored_moves_into_the_cookie_once(stranger: Any) -> None:
    stranger.show("/login")
    stored = "key => { localStorage.setItem('hone.key', key); localStorage.setItem('hone.role', 'admin') }"
    stranger.page.evaluate(stored, stranger.server.key)
    stranger.page.goto("about:blank")
    stranger.show("/jobs")
    expect(stranger.page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert stranger.page.evaluate("localStorage.length") == 0
    stranger.page.reload()
    expect(stranger.page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_stored_key_that_is_revoked_goes_too(stranger: Any) -> None:
    stranger.refusals_expected = True
    stranger.show("/login")
    stranger.page.evaluate("localStorage.setItem('hone.key', 'hone-revoked')")
    stranger.page.reload()
    expect(stranger.page.get_by_role("alert")).to_have_text("this API key is unknown, expired or revoked")
    assert stranger.page.evaluate("localStorage.length") == 0


def test_a_page_of_another_port_can_neither_use_nor_read_the_session(
    stranger: Any, http: httpx2.Client, elsewhere: str, waiting: Any
) -> None:
    """The browser does send the cookie there: to SameSite another port is the same site."""
    stranger.refusals_expected = True
    sign_in(stranger, http)
    url = f"{stranger.server.url}/v1/jobs/{waiting()['id']}"
    stranger.page.goto(elsewhere)
    form = "url => document.body.append(Object.assign(document.createElement('form'), {method: 'post', action: url}))"
    stranger.page.evaluate(form, f"{url}/cancel")
    with stranger.page.expect_navigation() as shown:
        stranger.page.evaluate("document.forms[0].submit()")
    assert "hone-session" in shown.value.request.all_headers()["cookie"]
    assert (shown.value.status, shown.value.json()["error"]["code"]) == (403, "cross_origin")
    assert http.get(url).json()["status"] == "queued"
    stranger.page.goto(elsewhere)
    read = "url => fetch(url, {credentials: 'include'}).then(answer => answer.text(), () => 'refused')"
    assert stranger.page.evaluate(read, url) == "refused"
    stranger.complaints.clear()  # about CORS


def test_no_page_of_another_port_can_frame_hone(stranger: Any, elsewhere: str) -> None:
    stranger.refusals_expected = True
    stranger.page.goto(elsewhere)
    frame = "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))"
    with stranger.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        stranger.page.evaluate(frame, f"{stranger.server.url}/")
    expect(stranger.page.get_by_text("theirs")).to_be_visible()
    assert [frame.url.partition("//")[0] for frame in stranger.page.frames[1:]] == ["chrome-error:"]
    stranger.complaints.clear()  # the refusal to frame
