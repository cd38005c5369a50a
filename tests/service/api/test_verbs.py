"""What can be done with a job over HTTP."""

from typing import Any

import httpx2

from hone.client import Client

LONG = 100_000


def test_a_running_job_is_paused_resumed_and_cancelled(server: Any, http: httpx2.Client) -> None:
    job = server.submit(steps=LONG)
    url = f"/v1/jobs/{job['id']}"
    server.wait(job["id"], until=lambda job: job["progress"]["step"] >= 2)
    assert http.post(f"{url}/pause").json()["status"] == "pausing"
    paused = server.wait(job["id"], until=lambda job: job["status"] == "paused")
    assert paused["progress"]["phase"] == "stopped" and paused["ran_seconds"] > 0
    (saved,) = http.get(f"{url}/checkpoints").json()["data"]
    assert saved["step"] == paused["progress"]["step"]
    refused = http.delete(url)
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"]["message"] == "cannot delete a paused job; cancel it first"
    assert http.post(f"{url}/resume").json()["status"] == "queued"
    on = server.wait(job["id"], until=lambda job: job["progress"]["step"] > saved["step"])
    assert (on["attempt"], on["restarts"]) == (2, 0)
    http.post(f"{url}/cancel")
    assert server.wait(job["id"])["status"] == "cancelled"
    _retry_and_delete(server, http, job["id"], saved["step"])


def _retry_and_delete(server: Any, http: httpx2.Client, job_id: str, step: int) -> None:
    retried = http.post(f"/v1/jobs/{job_id}/retry")
    assert retried.status_code == 201 and retried.json()["retry_of"] == job_id
    again = retried.json()["id"]
    server.wait(again, until=lambda job: job["progress"]["step"] > step)
    series = http.get(f"/v1/jobs/{again}/metrics", params={"names": "train/loss"}).json()["series"][0]
    assert series["steps"] == list(range(1, len(series["steps"]) + 1))
    http.post(f"/v1/jobs/{again}/cancel")
    server.wait(again)
    for name in (job_id, again):
        assert http.delete(f"/v1/jobs/{name}").status_code == 204
        assert http.get(f"/v1/jobs/{name}").status_code == 404


def test_a_clone_takes_changes_and_refuses_bad_ones_by_their_field(waiting: Any, http: httpx2.Client) -> None:
    job = waiting(steps=1)
    refused = http.post(f"/v1/jobs/{job['id']}/clone", json={"optimizer": {"learning_rat": 1}})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "optimizer.learning_rat"
    assert "did you mean 'learning_rate'" in refused.json()["error"]["message"]
    cloned = http.post(f"/v1/jobs/{job['id']}/clone", json={"seed": 5}).json()
    assert (cloned["clone_of"], cloned["spec"]["seed"], cloned["spec"]["steps"]) == (job["id"], 5, 1)
    same = http.post(f"/v1/jobs/{job['id']}/clone")  # no body: the spec as it was
    assert same.status_code == 201
    for name in (cloned["id"], same.json()["id"]):
        http.post(f"/v1/jobs/{name}/cancel")


def test_name_priority_and_tags_are_changed_and_nothing_else(waiting: Any, http: httpx2.Client) -> None:
    job = waiting(steps=1, tags={"a": "b"})
    changed = http.patch(f"/v1/jobs/{job['id']}", json={"priority": 3, "name": "later"}).json()
    assert (changed["priority"], changed["name"], changed["tags"]) == (3, "later", {"a": "b"})
    assert changed["version"] > job["version"]
    refused = http.patch(f"/v1/jobs/{job['id']}", json={"steps": 9})
    assert refused.status_code == 422 and refused.json()["error"]["param"] == "steps"


def test_what_an_sdk_sends_again_by_itself_makes_no_second_job(waiting: Any, http: httpx2.Client) -> None:
    first = waiting(steps=1, seed=4711)
    again = http.post("/v1/jobs", json=first["spec"], headers={"x-stainless-retry-count": "1"})
    assert (again.status_code, again.json()["id"]) == (201, first["id"])


def test_a_job_says_what_it_waits_for_and_one_that_could_never_run_may_be_refused(
    server: Any, http: httpx2.Client, waiting: Any
) -> None:
    job = waiting(steps=1)
    listed = next(each for each in http.get("/v1/jobs").json()["data"] if each["id"] == job["id"])
    for shown in (http.get(f"/v1/jobs/{job['id']}").json(), listed):
        assert (shown["waits_for"], shown["why"]) == ("capacity", "no live worker has 1 GPU")
    child = server.submit(model=f"job:{job['id']}@latest", steps=1)
    blocked = http.get(f"/v1/jobs/{child['id']}").json()
    assert (blocked["waits_for"], blocked["why"]) == ("parent", f"{job['id']} must succeed first")
    http.post(f"/v1/jobs/{child['id']}/cancel")
    assert http.get(f"/v1/jobs/{child['id']}").json()["waits_for"] is None
    with Client(server.url, server.key) as client:
        before = client.jobs.list(limit=1).data[0].id
        for resources, words in [({"gpus": 1}, "1 GPU"), ({"memory_gb": 4000}, "4000 GB of memory")]:
            refused = http.post("/v1/jobs?strict_resources=true", json={**job["spec"], "resources": resources})
            assert refused.status_code == 422 and refused.json()["error"]["param"] == "resources"
            assert refused.json()["error"]["message"].startswith(f"no live worker has {words}; lower resources")
        assert client.jobs.list(limit=1).data[0].id == before


def test_viewers_and_other_owners_change_nothing(server: Any, http: httpx2.Client, waiting: Any) -> None:
    job = waiting(steps=1)
    for verb in ("pause", "resume", "retry", "clone"):
        for role, status in (("viewer", 403), ("member", 404)):
            key = {"authorization": f"Bearer {server.another_key(f'{role}-of-verbs', role)}"}
            assert http.post(f"/v1/jobs/{job['id']}/{verb}", headers=key).status_code == status
