import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hone.datadir import DataDir

Launch = Callable[..., Any]
MOMENTS = ("initdb", "postgres", "redis", "migrate", "create-key", "api", "dispatcher", "worker")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory that exists and is empty, where the servers' user can pass."""
    made = Path(tempfile.mkdtemp(prefix="hone-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def traces(folder: Path) -> list[str]:
    """Command lines of processes that belong to the service on a data directory."""
    marks = [str(folder).encode()]
    if (folder / "sockets").is_symlink():
        marks.append(str((folder / "sockets").readlink()).encode())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if entry.name != str(os.getpid()) and any(mark in command + environment for mark in marks):
            found.append(f"{entry.name} {command.replace(bytes(1), b' ').decode()}")
    return found


def eventually(condition: Callable[[], bool], seconds: float = 180) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def end(server: Any, number: signal.Signals = signal.SIGINT) -> str:
    """Stop it as a person does; what it printed."""
    server.process.send_signal(number)
    assert server.process.wait(180) == 0
    return str((server.data_dir / "up.log").read_text())


def hone_up(folder: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "hone.cli", "up", "--data-dir", str(folder), "--port", "0", *options],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_stopping_ends_everything_and_a_second_start_finds_everything(folder: Path, launch: Launch) -> None:
    first = launch(folder)
    job = first.submit(steps=10_000)
    first.wait(job["id"], until=lambda job: job["progress"]["step"] > 0)
    sockets = (folder / "sockets").readlink()
    assert f"{first.url}/#/login/" in (folder / "up.log").read_text()
    assert (folder / "admin.key").stat().st_mode & 0o777 == 0o600
    end(first)
    assert not traces(folder)
    assert not sockets.exists()
    assert not (folder / "server.json").exists()
    second = launch(folder, "--no-worker", HONE_ROOT_PATH="/hone/")
    with second.client() as http:
        found = http.get(f"/v1/jobs/{job['id']}").json()
    assert second.url.endswith("/hone")  # what commands and log-in links use
    end(second, signal.SIGTERM)
    assert second.key == first.key
    assert (found["status"], found["attempt"]) == ("queued", 1)  # handed back, not lost
    assert not traces(folder)


@pytest.mark.faults
def test_killing_it_leaves_no_process_and_loses_nothing(folder: Path, launch: Launch) -> None:
    first = launch(folder)
    job = first.submit(steps=10_000)
    first.wait(job["id"], until=lambda job: job["progress"]["step"] > 0)
    first.process.kill()
    first.process.wait()
    assert eventually(lambda: not traces(folder)), traces(folder)
    (folder / "server.json").unlink()  # which `launch` waits for
    second = launch(folder, "--no-worker")
    with second.client() as http:
        assert http.get(f"/v1/jobs/{job['id']}").status_code == 200
    end(second)


@pytest.mark.faults
def test_every_part_that_is_killed_comes_back(folder: Path, launch: Launch) -> None:
    server = launch(folder)
    for part in traces(folder):
        pid = int(part.split()[0])
        if pid != server.process.pid:
            os.kill(pid, signal.SIGKILL)
    with server.client() as http:

        def ready() -> bool:
            try:
                return bool(http.get("/readyz").json()["status"] == "ready")
            except (httpx2.TransportError, ValueError, KeyError):
                return False

        assert eventually(ready)
    job = server.submit(steps=1)
    assert server.wait(job["id"])["status"] == "succeeded"
    printed = end(server)
    for name in ("postgres", "redis", "api", "dispatcher", "worker"):
        assert f"{name} was ended by SIGKILL; starting it again" in printed


@pytest.mark.faults
def test_an_interrupt_at_any_moment_leaves_no_process_and_no_broken_data(folder: Path, launch: Launch) -> None:
    for moment in MOMENTS:
        shutil.rmtree(folder / "logs", ignore_errors=True)
        with hone_up(folder) as process:
            log = folder / "logs" / f"{moment}.log"
            assert eventually(lambda log=log, process=process: log.exists() or process.poll() is not None)  # type: ignore[misc]
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=180)
        assert process.returncode == 0, printed
        assert "Stopping." in printed
        assert not traces(folder), moment
        if moment == "initdb":
            assert not (folder / "postgres").exists()
        if moment == "create-key":
            (folder / "admin.key").unlink(missing_ok=True)
    server = launch(folder, "--no-worker")
    with server.client() as http:
        assert http.get("/v1/jobs").json()["data"] == []
    end(server)


def test_a_second_one_on_the_same_data_is_refused_with_pid_and_url_of_the_first(server: Any) -> None:
    with hone_up(server.data_dir) as second:
        printed, _ = second.communicate(timeout=180)
    assert second.returncode == 1
    assert f"process {server.process.pid} uses it and serves {server.url}" in printed
    assert DataDir(server.data_dir).server() is not None


def test_a_port_that_is_taken_is_refused_before_anything_starts(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with hone_up(folder, "--port", str(port)) as process:
            printed, _ = process.communicate(timeout=180)
    assert process.returncode == 1
    assert f"cannot listen on port {port} of 127.0.0.1" in printed
    assert not (folder / "postgres").exists()


def test_a_refused_start_leaves_no_new_directory_and_a_file_in_its_place_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said, _ = hone_up(folder / "new", "--port", str(taken.getsockname()[1])).communicate(timeout=60)
    assert "cannot listen on port" in said and not (folder / "new").exists()
    (folder / "file").write_text("mine")
    for place in (folder / "file", folder / "file" / "below"):
        said, _ = hone_up(place).communicate(timeout=60)
        assert said.strip() == (
            f"hone: data directory {place}: {folder / 'file'} is a file; choose another --data-dir, or move the file"
        )
    assert (folder / "file").read_text() == "mine"


def test_servers_of_ones_own_are_used_instead_of_embedded_ones(folder: Path, launch: Launch, embedded: Any) -> None:
    server = launch(folder, "--no-worker", DATABASE_URL=embedded.database_url, REDIS_URL=embedded.redis_url)
    with server.client() as http:
        assert http.get("/readyz").json()["broker"] is True
    assert json.loads((folder / "server.json").read_text())["url"] == server.url
    end(server)
    assert not (folder / "postgres").exists()
    assert not (folder / "logs/redis.log").exists()
