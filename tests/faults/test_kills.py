"""Things are killed while they run; jobs come back by themselves and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis
from rig import procs

from hone.documents.status import JobStatus
from service import commands
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.persistence import jobs, workers
from service.persistence.database import Database

pytestmark = pytest.mark.faults
STEPS = 60
TINY = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic"},
}


def processes(words: str) -> list[int]:
    """The ids of processes whose command line holds `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if words in line:
                found.append(int(entry.name))
    return found


def children(parent: int, words: str) -> list[int]:
    """Descendants of a process whose command line holds `words`."""
    return [pid for pid in processes(words) if parent in ancestors(pid)]


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid


def long_job(server: Any) -> str:
    job = server.submit(steps=STEPS, checkpoint={"every": 10})
    return str(job["id"])


def check_it_came_back(server: Any, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = server.wait(job_id)
    assert job["status"] == "succeeded", job["failure"]
    assert job["attempt"] == 2
    with server.client() as http:
        series = http.get(f"/v1/jobs/{job_id}/metrics", params={"names": "train/loss"}).json()["series"][0]
        events = http.get(f"/v1/jobs/{job_id}/events", params={"kind": "metrics", "limit": 1000}).json()["data"]
    assert series["steps"] == list(range(1, STEPS + 1))
    told = [event["step"] for event in events if "train/loss" in event["data"]["metrics"]]
    assert told == list(range(1, STEPS + 1))
    return job


def test_a_killed_trainer_comes_back_without_gaps_or_duplicates(server: Any) -> None:
    job_id = long_job(server)
    with server.frozen(job_id, step=11) as trainer:
        os.kill(trainer, signal.SIGKILL)
    check_it_came_back(server, job_id)
    with server.client() as http:
        events = http.get(f"/v1/jobs/{job_id}/events", params={"kind": "status", "limit": 1000}).json()["data"]
    assert "killed by SIGKILL" in next(event["data"]["reason"] for event in events if "reason" in event["data"])


def test_a_killed_fork_server_takes_its_trainer_along_and_the_job_comes_back(server: Any) -> None:
    job_id = long_job(server)
    with server.frozen(job_id, step=11):
        of_service = set(procs.of_service(server.data_dir, "--fork-server-fd"))
        (fork_server,) = of_service - set(procs.trainers(server.data_dir))
        os.kill(fork_server, signal.SIGKILL)
    check_it_came_back(server, job_id)


def test_a_killed_worker_takes_its_trainer_along_and_the_job_comes_back(server: Any) -> None:
    job_id = long_job(server)
    (worker,) = children(server.process.pid, "celery -A worker.app")
    with server.frozen(job_id, step=11):
        trainers = server.trainers()
        os.kill(worker, signal.SIGKILL)
    check_it_came_back(server, job_id)
    assert not set(trainers) & set(processes("worker.trainer"))


def test_redis_emptied_and_killed_loses_no_job(server: Any) -> None:
    (redis,) = children(server.process.pid, "valkey-server")
    os.kill(redis, signal.SIGKILL)
    job = server.submit(steps=2)
    assert server.wait(job["id"])["status"] == "succeeded"


def test_a_killed_api_and_dispatcher_come_back(server: Any) -> None:
    for words in ("service.app:create_app", "service.dispatcher"):
        (pid,) = children(server.process.pid, words)
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            job = server.submit(steps=2)
            break
        except httpx2.TransportError:
            time.sleep(0.2)
    assert server.wait(job["id"])["status"] == "succeeded"


def test_a_job_waits_for_room_in_a_full_storage_and_loses_no_step(launch: Callable[..., Any], full_disk: Path) -> None:
    data_dir = Path(f"/var/tmp/hone-full-{os.getpid()}")
    data_dir.mkdir()
    server = launch(data_dir, STORAGE_URL=str(full_disk), HONE_STORAGE_PATIENCE_SECONDS="0")
    try:
        job = server.submit(steps=2, max_restarts=0)["id"]
        noted = server.wait(job, until=lambda shown: bool(shown["health_notes"]))["health_notes"][0]
        assert noted["code"] == "storage_failed" and "No space left on device" in noted["message"]
        assert "keep_last" in noted["remedy"]
        with server.client() as http:
            assert http.get("/readyz").json()["database"] is True
        (full_disk / "ballast").unlink()
        ended = server.wait(job)
        assert (ended["status"], ended["attempt"], ended["progress"]["step"]) == ("succeeded", 1, 2), ended["failure"]
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        shutil.rmtree(data_dir, ignore_errors=True)


def test_a_worker_that_starts_without_redis_works_all_the_same(embedded: Servers, database: Database) -> None:
    with database.transaction() as session:
        spec = JobSpec.model_validate(TINY | {"steps": 1})
        job_id = commands.submit(session, commands.Requester("ada"), spec, []).id
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "DATABASE_URL": embedded.database_url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "STORAGE_URL": f"{folder}/storage",
            "HONE_DATA_DIR": folder,
            "HONE_POLL_SECONDS": "0.5",
        }
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
        quiet = subprocess.DEVNULL
        worker = subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=quiet)
        try:
            assert succeeded_within(180, database, job_id)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(90)


def test_a_worker_that_is_told_to_stop_ends_in_time_although_redis_hangs(
    embedded: Servers, database: Database, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": embedded.database_url,
        "REDIS_URL": embedded.redis_url,
        "STORAGE_URL": f"{tmp_path}/storage",
        "HONE_DATA_DIR": str(tmp_path),
        "HONE_SPARE_TRAINER": "false",
    }
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    (redis,) = procs.descendants(os.getpid(), embedded.redis_url.removeprefix("unix://").partition("?")[0])
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
    try:
        until_listed(database, 1)
        until_listens(embedded.redis_url)
        os.kill(redis, signal.SIGSTOP)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(45) == 0
        until_listed(database, 0)
    finally:
        os.kill(redis, signal.SIGCONT)
        worker.kill()
        worker.wait()


def until_listens(redis_url: str) -> None:
    """Celery waits for a message."""
    deadline = time.monotonic() + 60
    with Redis.from_url(redis_url) as redis:
        while not any(client["cmd"] == "brpop" for client in redis.client_list()):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def until_listed(database: Database, count: int) -> None:
    """As many workers are listed."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with database.transaction() as session:
            if len(workers.alive(session)) == count:
                return
        time.sleep(0.1)
    raise AssertionError


def succeeded_within(seconds: float, database: Database, job_id: str) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with database.transaction() as session:
            if jobs.get(session, job_id, None).status == JobStatus.SUCCEEDED:
                return True
        time.sleep(0.2)
    return False
