"""The API while a server behind it stands still."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from rig import procs

LEASE_SECONDS = 6  # of the shared service


@contextmanager
def frozen(server: Any, words: str) -> Iterator[None]:
    """The processes below `hone up` whose command line holds `words` stand still."""
    pids = procs.descendants(server.process.pid, words)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def timed(ask: Callable[[], httpx2.Response]) -> tuple[httpx2.Response, float]:
    begun = time.monotonic()
    return ask(), time.monotonic() - begun


@pytest.mark.parametrize("words", ["postgres", "valkey"])
def test_health_is_answered_and_readiness_names_what_stands_still(server: Any, http: httpx2.Client, words: str) -> None:
    with frozen(server, words):
        assert timed(lambda: http.get("/healthz"))[0].status_code == 200
        answer, seconds = timed(lambda: http.get("/readyz"))
        assert seconds < 10
        assert answer.json()["broker" if words == "valkey" else "database"] is False
        assert answer.status_code == (200 if words == "valkey" else 503)
        if words == "valkey":
            assert http.get("/v1/jobs").status_code == 200
    while http.get("/readyz").json()["status"] != "ready":
        time.sleep(0.1)


def test_requests_and_streams_outlive_a_database_that_stands_still(
    server: Any, http: httpx2.Client, waiting: Callable[..., dict[str, Any]]
) -> None:
    job = waiting()
    lines: list[str] = []
    begun = threading.Event()

    def read() -> None:
        with server.client() as own, own.stream("GET", f"/v1/jobs/{job['id']}/stream") as response:
            for line in response.iter_lines():
                lines.append(line)
                begun.set()

    polls: list[int] = []

    def poll() -> None:
        with server.client() as own:
            polls.append(own.get(f"/v1/jobs/{job['id']}").status_code)

    threads = [threading.Thread(target=read), *(threading.Thread(target=poll) for _ in range(20))]
    threads[0].start()
    assert begun.wait(60)
    with frozen(server, "postgres"):
        for thread in threads[1:]:
            thread.start()
        assert timed(lambda: http.get("/healthz"))[1] < 5
    for thread in threads[1:]:
        thread.join(60)
    assert polls == [200] * 20
    http.post(f"/v1/jobs/{job['id']}/cancel")
    threads[0].join(60)
    assert not threads[0].is_alive() and "event: end" in lines


def test_an_outage_of_the_database_that_is_longer_than_a_lease_costs_no_step(server: Any, http: httpx2.Client) -> None:
    job = server.submit(steps=100_000)
    server.wait(job["id"], until=lambda job: job["progress"]["step"] >= 2)
    with frozen(server, "postgres"):
        time.sleep(LEASE_SECONDS + 1)
    back = time.monotonic()
    later = server.wait(job["id"], until=lambda job: time.monotonic() - back > LEASE_SECONDS + 3)
    assert (later["status"], later["attempt"], later["restarts"]) == ("running", 1, 0)
    assert later["progress"]["step"] > 2
    http.post(f"/v1/jobs/{job['id']}/cancel")
    server.wait(job["id"])
