"""What jobs go on from is damaged, or cannot be stored; they end in the same weights all the same."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.faults
STEPS = 60


def checkpoints(server: Any, job_id: str) -> list[dict[str, Any]]:
    with server.client() as http:
        return list(http.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"])


def weights(server: Any, job_id: str) -> str:
    files = checkpoints(server, job_id)[0]["files"]
    return str(next(file["sha256"] for file in files if file["name"] == "model.safetensors"))


def lines(server: Any, job_id: str) -> list[str]:
    with server.client() as http:
        events = http.get(f"/v1/jobs/{job_id}/events", params={"kind": "log", "limit": 1000}).json()["data"]
    return [event["data"]["line"] for event in events]


def settled(server: Any, job_id: str) -> dict[str, Any]:
    """The newest checkpoint, once nothing that was said before a stop is still on its way."""
    seen: list[dict[str, Any]] = []
    while not seen or seen != checkpoints(server, job_id):
        seen = checkpoints(server, job_id)
        time.sleep(1.5)
    return seen[0]


def test_a_flipped_byte_in_the_newest_checkpoint_sends_a_killed_job_one_back_and_changes_nothing(server: Any) -> None:
    spec = {"steps": STEPS, "checkpoint": {"every": 10, "keep_last": 3}}
    calm = server.wait(server.submit(**spec)["id"])
    job = server.submit(**spec)
    with server.frozen(job["id"], step=26) as trainer:
        newest = settled(server, job["id"])
        name = f"step-{newest['step']}-attempt-1"
        file = server.data_dir / "storage" / "checkpoints" / job["id"] / name / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        file.write_bytes(content)
        os.kill(trainer, signal.SIGKILL)
    ended = server.wait(job["id"])
    assert ended["status"] == "succeeded" and ended["attempt"] == 2, ended["failure"]
    (told,) = (line for line in lines(server, job["id"]) if "is damaged" in line)
    assert f"{name} is damaged: model.safetensors" in told
    assert f"; the job continues from step {newest['step'] - 10}; look at the disk" in told
    assert weights(server, job["id"]) == weights(server, calm["id"])
    with server.client() as http:
        series = http.get(f"/v1/jobs/{job['id']}/metrics", params={"names": "train/loss"}).json()["series"][0]
    assert series["steps"] == list(range(1, STEPS + 1))


def test_a_full_storage_that_has_room_again_costs_time_and_no_checkpoint(
    launch: Callable[..., Any], full_disk: Path
) -> None:
    data_dir = Path(f"/var/tmp/hone-room-{os.getpid()}")
    data_dir.mkdir()
    server = launch(data_dir, STORAGE_URL=str(full_disk), HONE_LEASE_SECONDS="6")
    try:
        job = server.submit(steps=4, checkpoint={"every": 2, "keep_last": 2})
        deadline = time.monotonic() + 180
        while not any("No space left on device" in line for line in lines(server, job["id"])):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert checkpoints(server, job["id"]) == []
        (full_disk / "ballast").unlink()
        ended = server.wait(job["id"])
        assert ended["status"] == "succeeded" and ended["attempt"] == 1, ended["failure"]
        found = checkpoints(server, job["id"])
        assert [one["step"] for one in found] == [4, 2]
        for one in found:
            folder = full_disk / "checkpoints" / job["id"] / f"step-{one['step']}-attempt-1"
            for file in one["files"]:
                assert hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]
        assert list((full_disk / "partial").iterdir()) == []
        assert not (data_dir / "work" / job["id"]).exists()
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        shutil.rmtree(data_dir, ignore_errors=True)
