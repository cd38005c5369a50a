"""The page below a prefix of its host."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect
from rig.reverse_proxy import reverse_proxy

pytestmark = pytest.mark.browser


@pytest.fixture(params=["stripped", "kept"])
def below(server: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    with reverse_proxy(server.url, "/tools/hone", strip=request.param == "stripped") as url:
        yield url


@pytest.mark.parametrize("end", ["", "/"], ids=["without a slash", "with a slash"])
def test_the_page_works_below_a_prefix(stranger: Any, http: httpx2.Client, waiting: Any, below: str, end: str) -> None:
    """Log-in, a polled list, a job's stream, the API's documentation: nothing is asked outside of the prefix."""
    asked: list[str] = []
    stranger.page.on("request", lambda request: asked.append(request.url))
    job = waiting(name="below")
    stranger.page.goto(f"{below}{end}#/login/{http.post('/v1/login_links').json()['token']}")
    stranger.page.get_by_role("link", name="below").first.click()
    expect(stranger.page.get_by_role("heading", name="below")).to_be_visible()
    http.post(f"/v1/jobs/{job['id']}/cancel")
    expect(stranger.page.locator("header.job .badge")).to_contain_text("cancelled")
    stranger.page.get_by_role("link", name="API", exact=True).click()
    expect(stranger.page.locator(".opblock").first).to_be_visible()
    assert [url for url in asked if not url.startswith((below, "data:"))] == []
