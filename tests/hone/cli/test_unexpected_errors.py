"""A fault of ours in a loop: the process ends with it, and its supervisor starts it again."""

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Launch = Callable[..., Any]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory that the servers' user can pass."""
    path = Path(tempfile.mkdtemp(prefix="hone-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def log_of_a_job(launch: Launch, folder: Path, plan: str) -> list[dict[str, Any]]:
    """Of the worker that did one while `plan` broke its process: events, beside the banner of Celery."""
    server = launch(folder, HONE_FAILPOINTS=plan, HONE_POLL_SECONDS="1")
    try:
        assert server.wait(server.submit(steps=1)["id"])["status"] == "succeeded"
    finally:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(90) == 0
    lines = (folder / "logs" / "worker.log").read_text().splitlines()
    assert not [line for line in lines if not line.startswith("{") and ("Traceback" in line or "Error" in line)]
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.timeout(400)
def test_a_worker_whose_loop_breaks_is_started_again_and_does_its_jobs(launch: Launch, folder: Path) -> None:
    log = log_of_a_job(launch, folder, "claim.written=error:bug")
    assert "worker ended with exit code 70; starting it again" in (folder / "up.log").read_text()
    [event] = [entry for entry in log if "failpoint claim.written" in str(entry)]
    assert event["level"] == "critical" and event["event"].startswith("the loop 'poll' failed")
    assert "Traceback" in event["exception"] and "^" in event["exception"]


@pytest.mark.timeout(400)
def test_a_worker_whose_loop_hangs_is_not_ready_and_is_replaced(launch: Launch, folder: Path) -> None:
    plan = "claim.written=delay:300*all"
    server = launch(folder, HONE_FAILPOINTS=plan, HONE_POLL_SECONDS="1", HONE_LEASE_SECONDS="1")
    log = folder / "logs" / "worker.log"
    try:
        server.submit(steps=1)
        with server.client() as http:
            ready = http.get("/readyz").json()
            deadline = time.monotonic() + 120
            while ready["workers"] or "the poll loop hangs; no heartbeat is sent" not in log.read_text():
                assert time.monotonic() < deadline, ready
                time.sleep(0.1)
                ready = http.get("/readyz").json()
            assert ready["status"] == "degraded"
        while "worker ended with exit code 70; starting it again" not in (folder / "up.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(120)


@pytest.mark.timeout(400)
def test_an_error_in_a_celery_task_is_one_event(launch: Launch, folder: Path) -> None:
    log = log_of_a_job(launch, folder, "doorbell.received=error:bug")
    [event] = [entry for entry in log if "failpoint doorbell.received" in str(entry)]
    assert event["level"] == "error" and "Traceback" in str(event)
