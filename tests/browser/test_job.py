"""A job's page."""

import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser
STEPS = 100
Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def done(server: Any) -> str:
    """The id of a job of twenty steps that has succeeded."""
    job = server.wait(server.submit(steps=20)["id"])
    assert job["status"] == "succeeded", job["failure"]
    return str(job["id"])


def chart(tab: Any, name: str) -> Locator:
    found: Locator = tab.page.get_by_role("img", name=f"{name}: ")
    return found


def points(tab: Any, name: str) -> tuple[int, int]:
    """How many points a chart has, and the step of the last."""
    label = chart(tab, name).get_attribute("aria-label") or ""
    found = re.search(r"(\d+) points, .* at step (\d+)$", label)
    assert found, label
    return int(found[1]), int(found[2])


def test_progress_and_the_loss_chart_grow_without_a_reload(tab: Any) -> None:
    job = tab.server.submit(name="grows", steps=STEPS)
    with tab.server.frozen(job["id"]):
        tab.show(f"/jobs/{job['id']}")
        expect(chart(tab, "train/loss")).to_be_visible()
        count, step = points(tab, "train/loss")
        assert count == step < STEPS
    expect(tab.page.locator("header.job .badge")).to_contain_text("succeeded", timeout=90_000)
    assert points(tab, "train/loss") == (STEPS, STEPS)
    expect(tab.page.locator("header.job").get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")


def test_the_address_holds_what_the_charts_show(tab: Any, done: str) -> None:
    tab.show(f"/jobs/{done}")
    tab.page.get_by_label("X axis").select_option("time")
    tab.page.get_by_label("Smoothing").fill("0.9")
    assert "x=time" in tab.page.url
    assert "smooth=0.9" in tab.page.url
    tab.page.reload()
    expect(tab.page.get_by_label("X axis")).to_have_value("time")
    expect(tab.page.get_by_label("Smoothing")).to_have_value("0.9")


def test_dragging_across_a_chart_zooms_all_of_them(tab: Any, done: str) -> None:
    tab.show(f"/jobs/{done}")
    box = chart(tab, "train/loss").locator(".u-over").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    tab.page.mouse.up()
    reset = tab.page.get_by_role("button", name="Reset zoom")
    expect(reset).to_be_visible()
    found = re.search(r"from=([\d.]+)&to=([\d.]+)", tab.page.url)
    assert found
    assert 1 < float(found[1]) < float(found[2]) < 20
    reset.click()
    assert "from=" not in tab.page.url


def test_responses_are_shown_with_their_rewards(tab: Any, evaluated: Submit) -> None:
    job = evaluated(name="answers")
    tab.show(f"/jobs/{job['id']}?tab=samples")
    first = tab.page.get_by_role("article").first
    expect(first).to_contain_text("trace [[", timeout=90_000)
    expect(first).to_contain_text("exact")
    expect(first).to_contain_text("truncated")
    tab.server.wait(job["id"])
    tab.page.get_by_role("spinbutton", name="Step").fill("2")
    tab.page.get_by_role("spinbutton", name="Step").press("Enter")
    expect(tab.page.get_by_role("article", name="Response at step 2").first).to_be_visible()
    expect(tab.page.get_by_role("article", name="Response at step 4")).to_have_count(0)
    assert "step=2" in tab.page.url


def test_what_is_being_typed_outlives_the_news_of_a_running_job(tab: Any, evaluated: Submit) -> None:
    job = evaluated(name="typing", steps=100_000)
    tab.server.wait(job["id"], until=lambda job: job["progress"]["step"] > 0)
    tab.show(f"/jobs/{job['id']}?tab=samples")
    field = tab.page.get_by_role("spinbutton", name="Step")
    field.fill("2")
    before = tab.page.get_by_role("main").inner_text()
    tab.page.wait_for_function("before => document.querySelector('main').innerText !== before", arg=before)
    expect(field).to_have_value("2")
    with tab.server.client() as http:
        http.post(f"/v1/jobs/{job['id']}/cancel")
    tab.server.wait(job["id"])


def test_markup_in_a_response_is_shown_as_text(tab: Any, evaluated: Submit) -> None:
    markup = "<img src=x onerror=\"document.title = 'hacked'\">"
    job = evaluated(name=markup, steps=1)
    tab.server.wait(job["id"])

    def poisoned(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        for sample in body["data"]:
            sample["response"] = f"<think>{markup}</think><answer>{markup}</answer>{markup}"
        route.fulfill(response=answer, json=body)

    tab.page.route("**/samples*", poisoned)
    tab.show(f"/jobs/{job['id']}?tab=samples")
    first = tab.page.get_by_role("article").first
    for part in (".think pre", ".answer pre", ".text pre"):
        expect(first.locator(part)).to_have_text(markup)
    expect(tab.page.get_by_role("heading", level=1)).to_have_text(markup)
    assert tab.page.locator("main img:not([role])").count() == 0
    assert tab.page.title() == f"{markup} · Hone"


def test_events_logs_and_the_spec_are_shown(tab: Any) -> None:
    job = tab.server.submit(steps=2)
    tab.show(f"/jobs/{job['id']}?tab=events")
    events = tab.page.get_by_role("region", name="Events")
    expect(events).to_contain_text("succeeded", timeout=90_000)
    expect(events).to_contain_text("attempt 1")
    tab.page.get_by_label("metrics").check()
    expect(events).to_contain_text("train/loss")
    tab.page.get_by_role("link", name="logs").click()
    expect(tab.page.get_by_role("log")).to_contain_text("parameters")
    tab.page.get_by_role("link", name="spec").click()
    expect(tab.page.get_by_role("region", name="Spec")).to_contain_text("batch_size: 4")


def test_what_went_wrong_and_what_was_loaded_is_shown(tab: Any) -> None:
    few = {"dataset": {"source": "linear-algebra", "size": 2}, "optimizer": {"warmup_steps": 9}}
    job = tab.server.submit(name="few rows", steps=2, **few)
    tab.server.wait(job["id"])
    tab.show(f"/jobs/{job['id']}?tab=spec")
    header = tab.page.locator("header.job")
    expect(header.locator(".badge.noted")).to_have_text("⚠ 1 warning")
    warnings = header.get_by_role("list", name="Warnings")
    expect(warnings).to_contain_text("algorithm.batch_size is 4, but there are 2 rows")
    expect(warnings).to_contain_text("lower it, or give more rows")
    header.get_by_text("1 note").click()
    expect(header.get_by_role("list", name="Notes")).to_contain_text("optimizer.warmup_steps is 9 of 2 steps")
    expect(tab.page.get_by_role("region", name="Spec")).to_contain_text("policy tiny: LlamaForCausalLM")
    tab.show("/jobs")
    expect(tab.page.get_by_role("row").filter(has_text="few rows").locator(".badge.noted")).to_be_visible()


def test_a_job_whose_spec_another_version_wrote_is_shown(tab: Any) -> None:
    job = tab.server.submit(steps=1)
    tab.server.wait(job["id"])
    stored = {"zone": {"name": "a"}, "steps": [1, 2], "optimizer": "adamw", "rewards": None, "algorithm": 5}

    def older(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"spec": stored})

    tab.page.route(f"**/v1/jobs/{job['id']}", older)
    tab.show(f"/jobs/{job['id']}?tab=spec")
    expect(tab.page.get_by_role("region", name="Spec")).to_contain_text("steps: [1, 2]\noptimizer: adamw")
    expect(tab.page.locator("header.job .badge")).to_contain_text("succeeded")
    tab.page.get_by_role("button", name="Clone").click()
    expect(tab.page.get_by_role("dialog").get_by_label("Steps")).to_have_value("")


def test_the_current_tab_is_in_sight_on_a_narrow_screen(tab: Any) -> None:
    job = tab.server.submit(steps=1)
    tab.page.set_viewport_size({"width": 380, "height": 800})
    tab.show(f"/jobs/{job['id']}?tab=spec")
    link = tab.page.get_by_role("link", name="spec", exact=True)
    expect(link).to_have_attribute("aria-current", "page")
    expect(link).to_be_in_viewport(ratio=0.9)


def test_a_checkpoint_is_listed_and_downloaded(tab: Any, evaluated: Submit, tmp_path: Path) -> None:
    job = evaluated(checkpoint={"every": 2, "keep_best": "eval/accuracy"})
    tab.show(f"/jobs/{job['id']}?tab=checkpoints")
    row = tab.page.get_by_role("row").filter(has_text="best")
    expect(row).to_contain_text("accuracy", timeout=90_000)
    tab.server.wait(job["id"])
    with tab.page.expect_download() as download:
        row.get_by_role("button").click()
    assert download.value.suggested_filename.startswith(job["id"])
    download.value.save_as(tmp_path / "model.tar")
    with tarfile.open(tmp_path / "model.tar") as archive:
        assert any(name.endswith("/model.safetensors") for name in archive.getnames())


def test_a_job_is_cancelled_from_the_page(tab: Any) -> None:
    job = tab.server.submit(steps=100_000)
    tab.show(f"/jobs/{job['id']}")
    expect(chart(tab, "train/loss")).to_be_visible(timeout=90_000)
    tab.page.get_by_role("button", name="Cancel").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(tab.page.locator("header.job .badge")).to_contain_text("cancelled")
    expect(tab.page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_cancel_that_comes_too_late_shows_the_servers_sentence(tab: Any, http: Any, waiting: Submit) -> None:
    tab.refusals_expected = True
    blocker = waiting()
    job = tab.server.submit(steps=1, depends_on=[blocker["id"]])
    tab.page.route("**/stream*", lambda _: None)  # no news reaches the page
    tab.show(f"/jobs/{job['id']}")
    expect(tab.page.locator("header.job").get_by_role("link", name=blocker["id"])).to_be_visible()
    tab.page.route(f"**/v1/jobs/{job['id']}", lambda _: None)
    tab.page.get_by_role("button", name="Cancel").click()
    http.post(f"/v1/jobs/{job['id']}/cancel")
    http.post(f"/v1/jobs/{blocker['id']}/cancel")
    tab.page.get_by_role("button", name="Cancel the job").click()
    expect(tab.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("cannot cancel a cancelled job")


def test_a_job_that_does_not_exist_is_told_in_the_servers_words(tab: Any) -> None:
    tab.refusals_expected = True
    tab.show("/jobs/ftjob-nothing")
    expect(tab.page.get_by_role("alert")).to_have_text("no job ftjob-nothing (job_id)")


def test_what_is_learned_is_marked_in_the_first_rows(tab: Any, done: str) -> None:
    tab.show(f"/jobs/{done}?tab=data")
    expect(tab.page.get_by_role("heading", name="Training rows")).to_be_visible(timeout=90_000)
    row = tab.page.get_by_label("Row 1", exact=True)
    expect(row.locator("pre")).to_contain_text(re.compile(r"^(trace|det) \[\["))
    expect(row.locator("mark")).to_have_text(re.compile(r"<answer>.*</answer><eos>$"))
