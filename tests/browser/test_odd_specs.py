"""Jobs whose stored spec is not as it should be, beside one that is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from service.local.embedded.postgres import url_of
from service.persistence.database import Database

pytestmark = pytest.mark.browser
ODD = {
    "of a later version": {"zone": "a", "resources": {"gpus": 1, "zone": [1, {"b": None}]}},
    "of an earlier version": {},
    "of wrong types": {"steps": "many", "seed": [1], "name": {"of": "it"}, "optimizer": "adamw", "rewards": 3},
    "without a document": [1, "two"],
}


@pytest.fixture
def odd(server: Any) -> Callable[[str], str]:
    """A job that waits for a GPU, with another document in its row."""

    def make(name: str) -> str:
        job_id = str(server.submit(name=name, resources={"gpus": 1})["id"])
        database = Database(url_of((server.data_dir / "sockets").resolve()))
        with database.transaction() as session:
            values = {"spec": json.dumps(ODD[name]), "id": job_id}
            session.execute(text("UPDATE jobs SET spec = CAST(:spec AS jsonb) WHERE id = :id"), values)
        database.close()
        return job_id

    return make


def test_odd_specs_are_shown_as_they_are_and_hide_no_other_job(tab: Any, odd: Callable[[str], str]) -> None:
    made = {name: odd(name) for name in ODD}
    healthy = tab.server.submit(name="a healthy one", steps=1)["id"]
    tab.show("/jobs")
    for job_id in (*made.values(), healthy):
        expect(tab.page.get_by_role("row", name=job_id)).to_be_visible()
    tab.show("/queue")
    for name in ODD:
        expect(tab.page.get_by_text(name)).to_be_visible()
    for name, job_id in made.items():
        tab.show(f"/jobs/{job_id}?tab=spec")
        expect(tab.page.get_by_role("heading", name=name)).to_be_visible()
        expect(tab.page.get_by_role("region", name="Spec")).to_be_visible()
    tab.show(f"/jobs/{made['of wrong types']}?tab=spec")
    expect(tab.page.get_by_role("region", name="Spec")).to_contain_text("optimizer: adamw")
    tab.page.get_by_role("button", name="Clone").click()
    dialog = tab.page.get_by_role("dialog", name="Clone this job")
    expect(dialog.get_by_label("Steps")).to_have_value("many")
    tab.refusals_expected = True
    dialog.get_by_role("button", name="Clone the job").click()
    expect(dialog.get_by_role("alert")).to_contain_text("steps")
    for job_id in made.values():
        with tab.server.client() as http:
            assert http.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
