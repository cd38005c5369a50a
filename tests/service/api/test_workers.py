"""Workers and the queue over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from hone.client import ApiError, Client
from service.local.embedded.postgres import url_of
from service.persistence import workers
from service.persistence.database import Database
from service.persistence.tables import Worker


@pytest.fixture
def client(server: Any) -> Any:
    with Client(server.url, server.key) as opened:
        yield opened


def test_a_worker_shows_its_machine_its_versions_and_what_it_runs(server: Any, client: Client) -> None:
    job = server.submit(steps=10_000)
    server.wait(job["id"], until=lambda job: job["progress"]["step"] > 0)
    (worker,) = [worker for worker in client.workers().data if worker.alive]
    assert worker.memory_bytes > 2**30 and worker.gpus == [] and {"hone", "python", "torch"} <= set(worker.versions)
    assert [(run.id, run.attempt) for run in worker.jobs] == [(job["id"], 1)] and worker.jobs[0].since is not None
    assert client.worker(worker.id).id == worker.id
    client.jobs.cancel(job["id"])
    server.wait(job["id"])


def test_a_worker_that_fell_silent_is_shown_as_dead(server: Any, client: Client) -> None:
    database = Database(url_of((server.data_dir / "sockets").resolve()))
    with database.transaction() as session:
        workers.beat(session, "silent", workers.Process("far-away", 1, 1, ["cpu"]))
        minutes_ago = datetime.now(UTC) - timedelta(minutes=5)
        session.execute(update(Worker).where(Worker.id == "silent").values(beat_at=minutes_ago))
    shown = {worker.id: worker for worker in client.workers().data}["silent"]
    assert (shown.alive, shown.beat_at, shown.jobs) == (False, minutes_ago, [])
    with database.transaction() as session:
        workers.remove(session, "silent")
    database.close()
    with pytest.raises(ApiError, match="no worker silent"):
        client.worker("silent")


def test_only_an_admin_drains_and_a_worker_must_exist(server: Any, client: Client) -> None:
    (worker,) = [worker for worker in client.workers().data if worker.alive]
    with Client(server.url, server.another_key("bob")) as member, pytest.raises(ApiError, match="admin"):
        member.drain(worker.id)
    with pytest.raises(ApiError, match="no worker nobody"):
        client.drain("nobody")
    assert client.drain(worker.id).draining and not client.undrain(worker.id).draining


def test_a_queued_job_shows_its_place(server: Any, http: httpx2.Client) -> None:
    first = server.submit(steps=10_000, priority=9)
    server.wait(first["id"], until=lambda job: job["status"] == "running")
    waiting = server.submit(steps=1, priority=8)
    job = server.wait(waiting["id"], until=lambda job: job["queue_position"] is not None)
    assert job["status"] == "queued" and job["queue_position"] == 1
    shown = http.get("/v1/queue", params={"limit": 1}).json()
    assert shown["data"][0]["id"] == waiting["id"] and shown["data"][0]["waits_for"] == "worker"
    assert shown["slots"] == {"free": 0, "all": 1} and shown["running"] == 1
    for job_id in (waiting["id"], first["id"]):
        http.post(f"/v1/jobs/{job_id}/cancel")
        assert server.wait(job_id)["queue_position"] is None
