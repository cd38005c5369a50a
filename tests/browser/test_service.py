"""The queue and the workers."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def busy(server: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """A job that runs, one that waits for the worker, and one that waits for the first."""
    running = server.submit(name="runs on", steps=100_000)
    server.wait(running["id"], until=lambda job: job["status"] == "running")
    waiting = server.submit(name="waits for the worker", steps=1)
    blocked = server.submit(name="waits for a job", steps=1, depends_on=[running["id"]])
    yield running, waiting, blocked
    with server.client() as http:
        for job in (blocked, waiting, running):
            http.post(f"/v1/jobs/{job['id']}/cancel")


def test_the_queue_tells_the_order_and_why_each_job_waits(tab: Any, busy: Any) -> None:
    running, waiting, blocked = busy
    tab.show("/queue")
    first = tab.page.get_by_role("row").filter(has_text=waiting["name"])
    expect(first.get_by_role("cell").first).to_have_text("1")
    expect(first).to_contain_text("worker")
    second = tab.page.get_by_role("row").filter(has_text=blocked["name"])
    expect(second.get_by_role("link", name=running["id"])).to_be_visible()
    expect(tab.page.get_by_role("main")).to_contain_text("slots free")
    first.get_by_role("link", name=waiting["name"]).click()
    expect(tab.page.locator(".facts")).to_contain_text("Queue position1")


def test_a_worker_is_shown_with_its_job_and_drained_and_undrained(tab: Any, busy: Any) -> None:
    tab.show("/workers")
    row = tab.page.get_by_role("row").filter(has=tab.page.get_by_role("link", name=busy[0]["id"]))
    expect(row).to_contain_text("torch")
    expect(row.locator(".badge")).to_have_text("alive")
    row.get_by_role("button", name="Drain").click()
    expect(row.locator(".badge")).to_have_text("draining")
    row.get_by_role("button", name="Undrain").click()
    expect(row.locator(".badge")).to_have_text("alive")


def test_a_key_that_may_not_drain_is_not_offered_it(tab: Any) -> None:
    member = tab.server.another_key("somebody")
    tab.sign_in(member)
    tab.show("/workers")
    expect(tab.page.locator("table .badge").first).to_be_visible()
    expect(tab.page.get_by_role("button", name="Drain")).to_have_count(0)


def test_queue_and_workers_fit_a_narrow_screen(tab: Any, busy: Any) -> None:
    tab.page.set_viewport_size({"width": 380, "height": 800})
    for view, shown in (("queue", busy[1]["name"]), ("workers", busy[0]["id"])):
        tab.show(f"/{view}")
        expect(tab.page.get_by_role("link", name=shown)).to_be_visible()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380
