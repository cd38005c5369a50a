"""Each service's own command and health check, as docker-compose.yml has them: `stacks` says how without containers."""

import os
import signal
import time

import pytest
from stacks import JOB, Stack


def test_the_services_of_the_compose_file_take_a_job_from_http_to_its_end_and_stop_in_time(stack: Stack) -> None:
    for package in ("torch", "transformers", "sympy", "numpy"):
        assert stack.image("api").run("python", "-c", f"import {package}").returncode != 0
    stack.run("migrate")
    for name in ("api", "dispatcher", "worker"):
        assert not stack.healthy(name)
        stack.start(name)
    key = stack.create_key()
    for name in ("api", "dispatcher", "worker"):
        stack.wait_until_healthy(name)

    with stack.client(key) as http:
        job = http.post("/v1/jobs", json=JOB).raise_for_status().json()
        stack.ended(http, job["id"])
        ready = http.get("/readyz").json()
        assert ready["status"] == "ready", str(ready) + stack.log("dispatcher")
        assert all(stack.healthy(name) for name in stack.running)

        assert stack.stop("worker") == 0
        assert stack.stop("dispatcher") == 0
        assert http.get("/readyz").json()["workers"] == 0
        waiting = http.post("/v1/jobs", json=JOB).raise_for_status().json()
        with http.stream("GET", f"/v1/jobs/{waiting['id']}/stream") as stream:
            lines = stream.iter_lines()
            next(lines)  # somebody watches, and goes on watching: that must not hold the API
            assert stack.stop("api") in (0, -signal.SIGTERM)
    assert not stack.healthy("api")


@pytest.mark.parametrize("name", ["dispatcher", "worker"])
def test_a_service_that_has_done_nothing_for_long_is_not_healthy(stack: Stack, name: str) -> None:
    beat = stack.private(name) / f"{name}.beat"
    beat.touch()
    assert stack.healthy(name)
    os.utime(beat, (time.time() - 120,) * 2)
    assert not stack.healthy(name)
