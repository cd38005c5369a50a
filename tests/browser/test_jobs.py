"""The list of jobs."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import yaml
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
Submit = Callable[..., dict[str, Any]]


def test_a_submitted_job_appears_and_ends_without_a_reload(tab: Any) -> None:
    tab.show("/jobs")
    expect(tab.page.get_by_role("heading", name="Jobs")).to_be_visible()
    job = tab.server.submit(name="appears by itself", steps=2)
    row = tab.page.get_by_role("row", name=job["id"])
    expect(row).to_contain_text("appears by itself")
    expect(row).to_contain_text("succeeded", timeout=90_000)
    expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
    expect(row).to_contain_text("train/loss")


def test_the_filters_are_in_the_address(tab: Any, waiting: Submit) -> None:
    sft = waiting(name="a supervised one")
    tab.show("/jobs?algorithm=sft")
    expect(tab.page.get_by_role("row", name=sft["id"])).to_be_visible()
    tab.page.get_by_label("Algorithm").select_option("ppo")
    expect(tab.page.get_by_role("row", name=sft["id"])).to_have_count(0)
    assert tab.page.url.endswith("#/jobs?algorithm=ppo")
    tab.page.go_back()
    expect(tab.page.get_by_role("row", name=sft["id"])).to_be_visible()


def test_a_filter_that_the_api_refuses_shows_its_sentence(tab: Any) -> None:
    tab.refusals_expected = True
    tab.show("/jobs?status=resting")
    expect(tab.page.get_by_role("alert")).to_contain_text("status")


def test_the_header_tells_that_the_service_is_ready_and_who_works(tab: Any) -> None:
    tab.show("/jobs")
    summary = tab.page.locator(".health summary")
    expect(summary).to_contain_text("ready · 1 worker", timeout=30_000)
    summary.click()
    expect(tab.page.locator(".health")).to_contain_text("process")


def test_an_empty_list_shows_a_spec_that_the_api_accepts(tab: Any, http: httpx2.Client) -> None:
    newcomer = tab.server.another_key("newcomer")
    tab.sign_in(newcomer)
    tab.show("/jobs")
    expect(tab.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    spec = yaml.safe_load(tab.page.locator(".empty pre").first.inner_text())
    answer = http.post("/v1/jobs", json=spec)
    assert answer.status_code == 201
    http.post(f"/v1/jobs/{answer.json()['id']}/cancel")


def test_the_list_fits_a_narrow_screen(tab: Any, waiting: Submit) -> None:
    waiting(name="a name that is rather long for a telephone, and then some")
    tab.page.set_viewport_size({"width": 380, "height": 800})
    tab.show("/jobs")
    expect(tab.page.get_by_role("link", name="rather long").first).to_be_visible()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380
