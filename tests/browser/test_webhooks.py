"""Webhooks and the log of what was sent to them."""

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
URL = "https://hooks.invalid/of-the-page"  # a name that nothing answers to, anywhere


def test_a_webhook_is_made_tried_disabled_and_deleted(tab: Any) -> None:
    tab.show("/webhooks")
    form = tab.page.get_by_role("form", name="New webhook")
    form.get_by_label("URL").fill(URL)
    form.get_by_label("running").check()
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_role("status")).to_contain_text("whsec_")
    row = tab.page.get_by_role("row").filter(has_text=URL)
    expect(row).to_contain_text("running, succeeded, failed, cancelled")

    row.get_by_role("link", name=URL).click()
    expect(tab.page.get_by_text("No deliveries yet.")).to_be_visible()
    tab.page.get_by_role("button", name="Send test message").click()
    expect(tab.page.get_by_role("row").filter(has_text="webhook.test")).to_contain_text("1 attempt", timeout=60_000)

    tab.page.get_by_role("link", name="← Webhooks").click()
    row.get_by_role("button", name="Disable").click()
    expect(row.locator(".badge")).to_have_text("disabled")
    row.get_by_role("button", name="Delete").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Delete the webhook").click()
    expect(row).to_have_count(0)


@pytest.fixture
def failing(http: httpx2.Client) -> Iterator[str]:
    """A webhook whose one message was tried in vain."""
    hook = http.post("/v1/webhooks", json={"url": f"{URL}/log"}).json()["id"]
    sent = http.post(f"/v1/webhooks/{hook}/test").json()["id"]
    deadline = time.monotonic() + 60
    while not http.get(f"/v1/webhooks/{hook}/deliveries/{sent}").json()["attempt_log"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield hook
    http.delete(f"/v1/webhooks/{hook}")


def test_an_opened_message_shows_each_attempt_and_what_was_sent(tab: Any, failing: str) -> None:
    tab.show(f"/webhooks/{failing}")
    opens = tab.page.get_by_role("button", name="Attempts of webhook.test")
    expect(opens).to_have_attribute("aria-expanded", "false")
    opens.press("Enter")
    expect(opens).to_have_attribute("aria-expanded", "true")
    attempt = tab.page.get_by_role("table", name="Attempts of msg_").get_by_role("row").nth(1)
    expect(attempt.get_by_role("cell").first).to_have_text("1")
    expect(attempt).to_contain_text(re.compile(r"\d m?s"))
    expect(attempt.get_by_role("cell").last).not_to_be_empty()
    message = tab.page.locator("pre")
    expect(message).to_contain_text('"type": "webhook.test"')
    tab.page.reload()
    expect(message).to_be_visible()
    tab.page.set_viewport_size({"width": 380, "height": 800})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380
    opens.click()
    expect(message).to_have_count(0)


def test_an_address_that_is_refused_stays_in_the_form_with_the_servers_words(tab: Any) -> None:
    tab.refusals_expected = True
    tab.show("/webhooks")
    form = tab.page.get_by_role("form", name="New webhook")
    url = "https://me:secret@hooks.invalid/"
    form.get_by_label("URL").fill(url)
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_role("alert")).to_contain_text("no user, password or fragment")
    expect(form.get_by_label("URL")).to_have_value(url)
