"""Checkpoints over HTTP: kept for good, deleted, refused."""

import time
from typing import Any

import pytest


@pytest.fixture(scope="module")
def job(server: Any) -> Any:
    """A job that has succeeded, with three checkpoints."""
    submitted = server.submit(steps=3, checkpoint={"every": 1, "keep_last": 3})
    assert server.wait(submitted["id"])["status"] == "succeeded"
    return submitted


def listed(http: Any, job: Any) -> list[dict[str, Any]]:
    return list(http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"])


def test_a_promoted_one_cannot_be_deleted_until_it_is_demoted(server: Any, http: Any, job: Any) -> None:
    oldest = listed(http, job)[-1]
    assert (oldest["step"], oldest["promoted"], oldest["damaged"]) == (1, False, False)
    assert http.post(f"/v1/checkpoints/{oldest['id']}/promote").json()["promoted"] is True
    refused = http.delete(f"/v1/checkpoints/{oldest['id']}")
    assert refused.status_code == 409 and refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"]["code"] == "checkpoint_promoted" and "demote" in refused.json()["error"]["message"]
    assert http.post(f"/v1/checkpoints/{oldest['id']}/demote").json()["promoted"] is False
    assert http.delete(f"/v1/checkpoints/{oldest['id']}").status_code == 204
    assert http.get(f"/v1/checkpoints/{oldest['id']}").status_code == 404


def test_deleted_files_are_gone_from_the_storage_soon(server: Any, http: Any, job: Any) -> None:
    checkpoint = listed(http, job)[-1]
    folder = server.data_dir / "storage" / "checkpoints" / job["id"]
    key = folder / f"step-{checkpoint['step']}-attempt-1"
    assert key.exists()
    http.delete(f"/v1/checkpoints/{checkpoint['id']}")
    deadline = time.monotonic() + 60
    while key.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not key.exists()


def test_one_that_a_queued_job_starts_from_cannot_be_deleted(http: Any, job: Any, waiting: Any) -> None:
    newest = listed(http, job)[0]
    queued = waiting(model=f"job:{job['id']}@best", depends_on=[])
    refused = http.delete(f"/v1/checkpoints/{newest['id']}")
    assert refused.status_code == 409 and queued["id"] in refused.json()["error"]["message"]


def test_a_file_that_is_missing_in_the_storage_is_named(server: Any, http: Any, job: Any) -> None:
    newest = listed(http, job)[0]
    folder = server.data_dir / "storage" / "checkpoints" / job["id"] / f"step-{newest['step']}-attempt-1"
    (folder / "config.json").unlink()
    refused = http.get(f"/v1/checkpoints/{newest['id']}/files/config.json")
    assert refused.status_code == 404 and "config.json" in refused.json()["error"]["message"]


def test_others_neither_see_nor_change_it(server: Any, http: Any, job: Any) -> None:
    newest = listed(http, job)[0]
    stranger = {"authorization": f"Bearer {server.another_key('eve')}"}
    viewer = {"authorization": f"Bearer {server.another_key('ada', 'viewer')}"}
    for path in ("promote", "demote"):
        assert http.post(f"/v1/checkpoints/{newest['id']}/{path}", headers=stranger).status_code == 404
        assert http.post(f"/v1/checkpoints/{newest['id']}/{path}", headers=viewer).status_code == 403
    assert http.delete(f"/v1/checkpoints/{newest['id']}", headers=stranger).status_code == 404
