"""The documentation of the API in the browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_documentation_needs_nothing_but_this_server(stranger: Any) -> None:
    """A violation of the policy would be a complaint on the console."""
    asked: list[str] = []
    stranger.page.on("request", lambda request: asked.append(request.url))
    stranger.page.goto(f"{stranger.server.url}/docs")
    expect(stranger.page.get_by_role("heading", name=re.compile("^Hone"))).to_be_visible()
    submit = stranger.page.locator('.opblock-post:has([data-path="/v1/jobs"])')
    submit.locator(".opblock-summary-control").click()
    expect(submit.get_by_text("Queue a training job.")).to_be_visible()
    expect(submit.get_by_text("Request body", exact=True)).to_be_visible()
    here = (f"{stranger.server.url}/", "data:")
    assert [url for url in asked if not url.startswith(here)] == []


def test_the_documentation_tries_out_a_request(stranger: Any) -> None:
    stranger.page.goto(f"{stranger.server.url}/docs")
    stranger.page.locator(".opblock").filter(has_text="/healthz").locator(".opblock-summary-control").click()
    stranger.page.get_by_role("button", name="Try it out").click()
    stranger.page.get_by_role("button", name="Execute").click()
    expect(stranger.page.locator(".live-responses-table").get_by_text('"status": "ok"')).to_be_visible()
