"""What the page shows while connections and trainers come and go."""

import os
import re
import signal
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LOSS = "train/loss: "


def test_a_lost_connection_is_told_and_loses_and_doubles_no_point(tab: Any, http: Any) -> None:
    tab.refusals_expected = True
    job = tab.server.submit(steps=100_000)
    tab.show(f"/jobs/{job['id']}")
    loss = tab.page.get_by_role("img", name=LOSS)
    expect(loss).to_be_visible(timeout=90_000)
    tab.page.context.set_offline(True)
    expect(tab.page.get_by_role("alert")).to_contain_text("Connection to the server lost")
    tab.page.wait_for_timeout(1500)
    tab.page.context.set_offline(False)
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    http.post(f"/v1/jobs/{job['id']}/cancel")
    tab.server.wait(job["id"])
    expect(tab.page.locator("header.job .badge")).to_contain_text("cancelled")
    last = tab.server.wait(job["id"])["progress"]["step"]
    expect(loss).to_have_attribute("aria-label", re.compile(rf"^train/loss: {last} points, .* at step {last}$"))


def test_a_new_attempt_takes_the_points_away_that_it_repeats(tab: Any, http: Any) -> None:
    job = tab.server.submit(steps=100_000, checkpoint={"every": 20})
    tab.show(f"/jobs/{job['id']}")
    with tab.server.frozen(job["id"], step=25) as trainer:
        os.kill(trainer, signal.SIGKILL)
    tab.server.wait(job["id"], until=lambda found: found["attempt"] == 2 and found["progress"]["step"] >= 30)
    http.post(f"/v1/jobs/{job['id']}/cancel")
    last = tab.server.wait(job["id"])["progress"]["step"]
    loss = tab.page.get_by_role("img", name=LOSS)
    expect(loss).to_have_attribute("aria-label", re.compile(rf"^train/loss: {last} points, .* at step {last}$"))
    expect(tab.page.locator(".facts")).to_contain_text("Attempt2")
