"""Workers and the queue on the command line."""

import time
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _has_a_worker(server: Any) -> None:
    """A new service answers before its worker has sent the first heartbeat."""
    deadline = time.monotonic() + 120
    with server.client() as http:
        while not http.get("/readyz").json()["workers"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_workers_are_listed_drained_and_let_go(hone: Any, server: Any) -> None:
    line = next(line for line in hone("workers").stdout.splitlines() if "\talive\t" in line)
    worker, _, slots, devices, memory, versions, *_ = line.split("\t")
    assert (slots, devices) == ("1", "cpu") and memory.endswith("GiB") and "torch" in versions
    assert f"{worker} claims no more jobs" in hone("drain", worker).stdout
    assert f"{worker}\tdraining" in hone("workers").stdout
    assert f"{worker} claims jobs again" in hone("drain", worker, "--undo").stdout


def test_the_queue_is_listed_with_reasons(hone: Any, server: Any) -> None:
    job = server.submit(resources={"gpus": 1})
    line = next(line for line in hone("queue").stdout.splitlines() if job["id"] in line)
    assert line.endswith("no live worker has 1 GPU") and "unknown" in line
    hone("cancel", job["id"])
