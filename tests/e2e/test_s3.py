"""The whole service with its files and checkpoints in S3: upload, train, be killed, go on, download."""

import hashlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

STEPS = 150  # enough that the trainer is not done while its first checkpoint is uploaded
ROWS = "".join(f'{{"prompt": "{n}+1=", "completion": "{n + 1}"}}\n' for n in range(16))


@pytest.fixture(scope="module")
def remote(launch: Callable[..., Any], s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service with its storage in S3, and the URL of that."""
    folder = Path(f"/var/tmp/hone-s3-{os.getpid()}")
    folder.mkdir()
    url = f"{s3.url}/{uuid.uuid4().hex}"
    server = launch(folder, STORAGE_URL=url, HONE_POLL_SECONDS="1", **s3.environment)
    try:
        yield server, url
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def trainer(parent: int) -> int:
    """The process that trains, below `hone up`."""
    processes = subprocess.check_output(["ps", "-eo", "pid,ppid,args"], text=True).splitlines()[1:]
    rows = [line.split(None, 2) for line in processes]
    parents = {int(pid): int(ppid) for pid, ppid, _ in rows}

    def below(pid: int) -> bool:
        while pid > 1 and pid != parent:
            pid = parents.get(pid, 0)
        return pid == parent

    return next(int(pid) for pid, _, line in rows if "worker.trainer" in line and below(int(pid)))


def test_a_killed_job_continues_from_s3_and_its_files_are_downloaded_and_deleted(remote: Any) -> None:
    server, url = remote
    with server.client() as http:
        file = http.post("/v1/files", files={"file": ("rows.jsonl", ROWS)}).json()
        spec = {"dataset": {"source": file["id"]}, "steps": STEPS, "checkpoint": {"every": 25, "keep_last": 2}}
        job = server.submit(**spec)
        server.wait(job["id"], until=lambda _: http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"])
        os.kill(trainer(server.process.pid), signal.SIGKILL)
        ended = server.wait(job["id"])
        assert ended["status"] == "succeeded" and ended["attempt"] == 2, ended["failure"]
        series = http.get(f"/v1/jobs/{job['id']}/metrics", params={"names": "train/loss"}).json()["series"][0]
        assert series["steps"] == list(range(1, STEPS + 1))

        newest = http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"][0]
        name = "model.safetensors"
        described = next(file for file in newest["files"] if file["name"] == name)
        path = f"/v1/checkpoints/{newest['id']}"
        whole = http.get(f"{path}/files/{name}")
        assert hashlib.sha256(whole.content).hexdigest() == described["sha256"]
        part = http.get(f"{path}/files/{name}", headers={"range": "bytes=10-19"})
        assert part.status_code == 206 and part.content == whole.content[10:20]
        assert name.encode() in http.get(f"{path}/archive").content

        assert http.delete(path).status_code == 204
        stored = fsspec.filesystem("s3", use_listings_cache=False)
        place = f"{url.removeprefix('s3://')}/checkpoints/{job['id']}/step-{STEPS}-attempt-2"
        server.wait(job["id"], until=lambda _: not stored.exists(place), seconds=60)
