"""What can be done with a job from its page."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser
FOREVER = 100_000
Submit = Callable[..., dict[str, Any]]


def button(tab: Any, name: str) -> Locator:
    found: Locator = tab.page.locator("header.job").get_by_role("button", name=name, exact=True)
    return found


def badge(tab: Any) -> Locator:
    found: Locator = tab.page.locator("header.job .badge")
    return found


def cancel(tab: Any, *jobs: str) -> None:
    with tab.server.client() as http:
        for job in jobs:
            http.post(f"/v1/jobs/{job}/cancel")


def shown_job(tab: Any, other_than: str) -> str:
    """The id of the job that the page went to."""
    expect(tab.page).not_to_have_url(re.compile(other_than))
    expect(tab.page).to_have_url(re.compile(r"#/jobs/ftjob-\w+$"))
    return str(tab.page.url.rpartition("/")[2])


def test_a_job_is_paused_and_resumed_by_clicks_and_then_succeeds(tab: Any) -> None:
    job = tab.server.submit(name="takes a rest", steps=100)
    tab.show(f"/jobs/{job['id']}")
    with tab.server.frozen(job["id"]):
        button(tab, "Pause").click()
        expect(badge(tab)).to_contain_text("pausing")
    expect(badge(tab)).to_contain_text("paused")
    assert 0 < tab.server.wait(job["id"], until=lambda found: True)["progress"]["step"] < 100
    expect(button(tab, "Resume")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(badge(tab)).to_contain_text("succeeded", timeout=120_000)
    expect(tab.page.locator(".facts")).to_contain_text("Attempt2")
    expect(button(tab, "Pause")).to_have_count(0)


def test_a_button_that_can_do_nothing_now_says_why(tab: Any, waiting: Submit) -> None:
    blocker = waiting()
    job = tab.server.submit(steps=1, depends_on=[blocker["id"]])
    tab.show(f"/jobs/{job['id']}")
    expect(button(tab, "Delete")).to_have_attribute("aria-disabled", "true")
    button(tab, "Delete").press("Enter")
    reason = "A queued job cannot be deleted: cancel it first."
    expect(tab.page.get_by_role("status").filter(has_text=reason)).to_be_visible()
    expect(button(tab, "Delete")).to_have_accessible_description(reason)
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    cancel(tab, job["id"], blocker["id"])


def test_a_refusal_is_shown_in_the_servers_words(tab: Any, waiting: Submit) -> None:
    tab.refusals_expected = True
    blocker = waiting()
    job = tab.server.submit(steps=1, depends_on=[blocker["id"]])
    tab.page.route("**/stream*", lambda _: None)  # no news reaches the page
    tab.show(f"/jobs/{job['id']}")
    expect(button(tab, "Pause")).to_be_visible()
    tab.page.route(f"**/v1/jobs/{job['id']}", lambda _: None)
    cancel(tab, job["id"], blocker["id"])
    button(tab, "Pause").click()
    expect(tab.page.get_by_role("alert")).to_have_text("cannot pause a cancelled job")
    tab.page.unroute(f"**/v1/jobs/{job['id']}")
    tab.page.reload()
    expect(badge(tab)).to_contain_text("cancelled")


def failed(tab: Any) -> dict[str, Any]:
    """A job that ran out of its time after its first checkpoint."""
    job = tab.server.submit(name="too slow", steps=FOREVER, checkpoint={"every": 5}, max_seconds=1)
    found = dict(tab.server.wait(job["id"]))
    assert found["failure"]["category"] == "timeout"
    return found


def test_a_retry_goes_to_the_new_job(tab: Any) -> None:
    job = failed(tab)
    tab.show(f"/jobs/{job['id']}")
    expect(tab.page.get_by_role("region", name="Failure")).to_contain_text("timeout")
    button(tab, "Retry").click()
    made = shown_job(tab, other_than=job["id"])
    expect(tab.page.locator(".facts").get_by_role("link", name=job["id"])).to_be_visible()
    expect(tab.page.get_by_role("heading", level=1, name="too slow")).to_be_focused()
    assert tab.server.wait(made, until=lambda found: True)["retry_of"] == job["id"]
    cancel(tab, made)
    tab.server.wait(made)


def test_a_clone_has_the_changes_of_its_fields_and_text(tab: Any, waiting: Submit) -> None:
    job = waiting(name="first", steps=2)
    cancel(tab, job["id"])
    tab.show(f"/jobs/{job['id']}")
    button(tab, "Clone").click()
    dialog = tab.page.get_by_role("dialog", name="Clone this job")
    dialog.get_by_label("Name").fill("second")
    dialog.get_by_label("Steps").fill("3")
    dialog.get_by_label("Learning rate").fill("2e-3")
    dialog.get_by_label("Other changes").fill(
        "algorithm.batch_size: 2\ndataset: {size: 8}  # less\noptimizer.weight_decay: 1e-3\npacking: off"
    )
    dialog.get_by_role("button", name="Clone the job").click()
    made = shown_job(tab, other_than=job["id"])
    expect(tab.page.get_by_role("heading", level=1, name="second")).to_be_visible()
    cancel(tab, made)
    found = tab.server.wait(made)
    assert found["clone_of"] == job["id"]
    spec = found["spec"]
    assert (spec["steps"], spec["optimizer"]["learning_rate"], spec["seed"]) == (3, 0.002, 0)
    assert (spec["algorithm"]["batch_size"], spec["dataset"]["size"]) == (2, 8)
    assert spec["dataset"]["tasks"] == ["trace"]
    assert (spec["optimizer"]["weight_decay"], spec["packing"]) == (0.001, False)


def test_a_clone_that_is_refused_names_the_field_and_keeps_what_was_typed(tab: Any, waiting: Submit) -> None:
    tab.refusals_expected = True
    job = waiting(steps=1)
    cancel(tab, job["id"])
    tab.show(f"/jobs/{job['id']}")
    button(tab, "Clone").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Steps").fill("-5")
    dialog.get_by_role("button", name="Clone the job").click()
    expect(dialog.get_by_role("alert")).to_contain_text("steps: Input should be greater")
    expect(dialog.get_by_label("Steps")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Steps")).to_have_value("-5")
    dialog.get_by_label("Steps").fill("1")
    dialog.get_by_label("Other changes").fill("steps 5")
    dialog.get_by_role("button", name="Clone the job").click()
    expect(dialog.get_by_role("alert")).to_contain_text("write one `field: value` per line")
    dialog.get_by_label("Other changes").fill("stepz: 5")
    dialog.get_by_role("button", name="Clone the job").click()
    expect(dialog.get_by_role("alert")).to_contain_text("stepz")
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button(tab, "Clone")).to_be_focused()


def test_a_job_is_deleted_once_it_was_said_what_goes_with_it(tab: Any, http: Any) -> None:
    tab.refusals_expected = True
    job = tab.server.submit(name="nobody needs it", steps=1)
    tab.server.wait(job["id"])
    tab.show(f"/jobs/{job['id']}")
    button(tab, "Delete").click()
    dialog = tab.page.get_by_role("dialog", name="Delete this job?")
    expect(dialog).to_contain_text("its checkpoint (")
    dialog.get_by_role("button", name="Delete the job").click()
    expect(tab.page.get_by_role("heading", name="Jobs")).to_be_focused()
    expect(tab.page.get_by_role("row", name=job["id"])).to_have_count(0)
    assert http.get(f"/v1/jobs/{job['id']}").status_code == 404


def test_the_priority_is_changed_while_a_job_waits(tab: Any, waiting: Submit) -> None:
    tab.refusals_expected = True
    blocker = waiting()
    job = tab.server.submit(steps=1, depends_on=[blocker["id"]])
    tab.show(f"/jobs/{job['id']}")
    field = tab.page.get_by_role("spinbutton", name="Priority")
    field.fill("500")
    field.press("Enter")
    expect(tab.page.get_by_role("alert")).to_contain_text("priority: ")
    field.fill("7")
    tab.page.get_by_role("button", name="Save").click()
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    tab.page.reload()
    expect(field).to_have_value("7")
    cancel(tab, job["id"], blocker["id"])
    expect(field).to_have_count(0)


def test_the_header_and_its_dialogs_fit_a_narrow_screen(tab: Any, waiting: Submit) -> None:
    job = waiting(name="a name that is rather long for a telephone, and then some", steps=1)
    cancel(tab, job["id"])
    tab.server.wait(job["id"])
    tab.page.set_viewport_size({"width": 380, "height": 800})
    tab.show(f"/jobs/{job['id']}")
    for name in ("Clone", "Delete"):
        button(tab, name).click()
        box = tab.page.get_by_role("dialog").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 380
        tab.page.keyboard.press("Escape")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380
