"""Webhooks and the log of what was sent to them."""

from typing import Any

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
    expect(tab.page.get_by_text("Nothing was sent yet.")).to_be_visible()
    tab.page.get_by_role("button", name="Send a test").click()
    expect(tab.page.get_by_role("row").filter(has_text="webhook.test")).to_contain_text("tried once", timeout=60_000)

    tab.page.get_by_role("link", name="← Webhooks").click()
    row.get_by_role("button", name="Disable").click()
    expect(row.locator(".badge")).to_have_text("disabled")
    row.get_by_role("button", name="Delete").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Delete the webhook").click()
    expect(row).to_have_count(0)


def test_an_address_that_is_refused_stays_in_the_form_with_the_servers_words(tab: Any) -> None:
    tab.refusals_expected = True
    tab.show("/webhooks")
    form = tab.page.get_by_role("form", name="New webhook")
    url = "https://me:secret@hooks.invalid/"
    form.get_by_label("URL").fill(url)
    form.get_by_role("button", name="Create").click()
    expect(form.get_by_role("alert")).to_contain_text("no user, password or fragment")
    expect(form.get_by_label("URL")).to_have_value(url)
