"""What axe-core, the checker that browsers' own tools use, says about the views."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
AXE = Path(__file__).parents[2] / "service" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("charts", "samples", "data", "events", "logs", "checkpoints", "spec")


def violations(page: Any) -> list[str]:
    """One line for each rule that a view breaks."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_views_are_accessible(
    tab: Any, evaluated: Callable[..., dict[str, Any]], scheme: Literal["light", "dark"]
) -> None:
    tab.page.emulate_media(color_scheme=scheme)
    job = evaluated(steps=1, checkpoint={}, evaluation={"max_completion_length": 4})
    tab.server.wait(job["id"])
    tab.show("/jobs")
    expect(tab.page.get_by_role("row", name=job["id"])).to_be_visible()
    assert violations(tab.page) == []
    tab.show("/workers")
    expect(tab.page.get_by_role("button", name="Drain")).to_be_visible()
    assert violations(tab.page) == []
    with tab.server.client() as http:
        hook = http.post("/v1/webhooks", json={"url": "https://hooks.invalid/of-axe"}).json()["id"]
        http.post(f"/v1/webhooks/{hook}/test")
    tab.show("/webhooks")
    expect(tab.page.get_by_role("link", name="hooks.invalid/of-axe").first).to_be_visible()
    assert violations(tab.page) == []
    tab.show(f"/webhooks/{hook}")
    tab.page.get_by_role("button", name="Attempts of webhook.test").click()
    expect(tab.page.get_by_role("heading", name="Message")).to_be_visible()
    assert violations(tab.page) == []
    for name in TABS:
        tab.show(f"/jobs/{job['id']}?tab={name}")
        expect(tab.page.get_by_role("link", name=name)).to_have_attribute("aria-current", "page")
        tab.page.wait_for_load_state("networkidle")
        assert violations(tab.page) == [], name
    with tab.server.client() as http:
        http.delete(f"/v1/webhooks/{hook}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_can_be_done_with_a_job_is_accessible(
    tab: Any, waiting: Callable[..., dict[str, Any]], scheme: Literal["light", "dark"]
) -> None:
    tab.page.emulate_media(color_scheme=scheme)
    tab.refusals_expected = True
    blocker = waiting()
    job = tab.server.submit(steps=1, depends_on=[blocker["id"]])
    tab.show(f"/jobs/{job['id']}")
    delete = tab.page.get_by_role("button", name="Delete")
    delete.press("Enter")
    expect(tab.page.get_by_text("cancel it first")).to_be_visible()
    assert violations(tab.page) == []
    tab.page.get_by_role("button", name="Clone").click()
    tab.page.get_by_role("dialog").get_by_label("Steps").fill("-1")
    tab.page.get_by_role("button", name="Clone the job").click()
    expect(tab.page.get_by_role("alert")).to_be_visible()
    assert violations(tab.page) == []
    tab.show("/queue")
    expect(tab.page.get_by_role("link", name=job["id"])).to_be_visible()
    assert violations(tab.page) == []
    tab.page.go_back()
    with tab.server.client() as http:
        for queued in (job, blocker):
            http.post(f"/v1/jobs/{queued['id']}/cancel")
    delete.click()
    expect(tab.page.get_by_role("dialog")).to_contain_text("its metrics")
    assert violations(tab.page) == []


def test_the_sign_in_form_is_accessible(stranger: Any) -> None:
    stranger.show("/login")
    expect(stranger.page.get_by_label("API key")).to_be_focused()
    assert violations(stranger.page) == []
