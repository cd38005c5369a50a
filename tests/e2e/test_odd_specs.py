"""Odd specs in a running service: each is shown, none is in the way of another job."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from hone.cli import show
from hone.client import Client
from service.domain.stored import SPEC_VERSION
from service.local.embedded.postgres import url_of
from service.persistence.database import Database

Odd = Callable[..., str]


@pytest.fixture
def rows(server: Any) -> Iterator[Database]:
    """Behind the service's back."""
    opened = Database(url_of((server.data_dir / "sockets").resolve()))
    yield opened
    opened.close()


@pytest.fixture
def odd(server: Any, rows: Database) -> Odd:
    """A job before all others, with another value in its stored spec. It waits for a GPU until it has that."""

    def make(place: str, value: Any, version: int = SPEC_VERSION) -> str:
        job_id = str(server.submit(steps=1, priority=9, resources={"gpus": 1})["id"])
        assignment = (
            "spec = jsonb_set(jsonb_set(spec, '{resources,gpus}', '0'), CAST(:place AS text[]), CAST(:value AS jsonb))"
        )
        values = {"id": job_id, "place": place, "value": json.dumps(value), "version": version}
        with rows.transaction() as session:
            update = text(f"UPDATE jobs SET {assignment}, gpus = 0, spec_version = :version WHERE id = :id")
            session.execute(update, values)
        return job_id

    return make


@pytest.mark.timeout(400)
def test_odd_jobs_are_shown_and_let_others_run(server: Any, odd: Odd, capsys: pytest.CaptureFixture[str]) -> None:
    newer = odd("{zone}", "a", SPEC_VERSION + 1)
    broken = odd("{algorithm,batch_size}", "four")
    ignored = odd("{resources,zone}", "a")
    healthy = server.submit(steps=1)["id"]
    assert server.wait(healthy)["status"] == server.wait(ignored)["status"] == "succeeded"
    failed = server.wait(broken)
    assert failed["failure"]["category"] == "infra" and "algorithm.batch_size" in failed["failure"]["message"]
    with server.client() as http:
        listed = {job["id"]: job for job in http.get("/v1/jobs", params={"limit": 100}).json()["data"]}
        assert {newer, broken, ignored, healthy} <= set(listed)
        assert listed[newer]["status"] == "queued"
        assert http.get(f"/v1/jobs/{newer}").json()["spec"]["zone"] == "a"
        [waiting] = [job for job in http.get("/v1/queue").json()["data"] if job["id"] == newer]
        assert waiting["why"] == f"it needs a newer worker, which reads version {SPEC_VERSION + 1} of the spec"
        for job_id in (newer, broken, ignored):
            assert http.get(f"/v1/jobs/{job_id}").status_code == 200
            assert http.get(f"/v1/jobs/{job_id}/events").status_code == 200
        refused = http.post(f"/v1/jobs/{broken}/retry")
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "algorithm.batch_size")
        refused = http.post(f"/v1/jobs/{ignored}/clone", json={})
        assert refused.status_code == 422 and "unknown field 'zone'" in refused.json()["error"]["message"]
        assert http.get("/readyz").json()["status"] == "ready"
        assert http.post(f"/v1/jobs/{newer}/cancel").json()["status"] == "cancelled"
    with Client(server.url, server.key) as client:
        show.jobs(client.jobs.list(limit=100).data)
        for job_id in (newer, broken, ignored):
            show.job(client.jobs.get(job_id), client.jobs.checkpoints(job_id).data, [])
    shown = capsys.readouterr().out
    assert shown.count("zone: a") == 2 and "batch_size: four" in shown
