"""Many requests at once, streams that stay, and what ends them."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx2
import pytest
from rig import procs
from sqlalchemy import create_engine, text

from hone.client import Client
from hone.errors import Unavailable
from service.api.admission import Admission, SharedCalls
from service.api.streams import Streams
from service.domain.specs import JobSpec

CROWD = 150
"""With FastAPI's 40 threads and 20 connections, 60 requests at once waited for each other for half a minute."""


async def ask(url: str, key: str, path: str) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    """A request on a connection of its own, up to its status."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {key}\r\n\r\n".encode())
    return int((await reader.readline()).split()[1]), reader, writer


def test_a_burst_of_cold_requests_is_answered(
    server: Any, waiting: Callable[..., dict[str, Any]], in_a_loop: Callable[[Any], Any]
) -> None:
    job, key = waiting(), server.another_key("admin", role="admin")

    async def run() -> list[int]:
        async def one() -> int:
            status, _, writer = await ask(server.url, key, f"/v1/jobs/{job['id']}")
            writer.close()
            return status

        return list(await asyncio.gather(*(one() for _ in range(CROWD))))

    assert Counter(in_a_loop(run)) == {200: CROWD}


def test_streams_that_open_at_once_all_begin_and_others_are_answered(
    server: Any, waiting: Callable[..., dict[str, Any]], in_a_loop: Callable[[Any], None]
) -> None:
    job = waiting()

    async def run() -> None:
        async def one() -> tuple[int, bytes, asyncio.StreamWriter]:
            status, reader, writer = await ask(server.url, server.key, f"/v1/jobs/{job['id']}/stream")
            return status, await reader.readuntil(b'"status":"queued"'), writer

        async with asyncio.timeout(60):
            streams = await asyncio.gather(*(one() for _ in range(CROWD)))
            for path in ("/healthz", "/", f"/v1/jobs/{job['id']}"):
                status, _, writer = await ask(server.url, server.key, path)
                assert status == 200
                writer.close()
        assert {status for status, _, _ in streams} == {200}
        for _, _, writer in streams:
            writer.close()

    in_a_loop(run)


@contextmanager
def streaming(server: Any, key: str, job_id: str) -> Iterator[Callable[[], bool]]:
    """A stream that is being read; the block gets a function that says whether it ended within a minute."""
    begun, ended = threading.Event(), threading.Event()

    def read() -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx2.stream("GET", f"{server.url}/v1/jobs/{job_id}/stream", headers=headers, timeout=60) as response:
            for _ in response.iter_lines():
                begun.set()
        ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert begun.wait(60)
    yield lambda: ended.wait(60)
    thread.join(60)


def test_a_stream_ends_when_its_key_is_revoked(
    server: Any, http: httpx2.Client, waiting: Callable[..., dict[str, Any]]
) -> None:
    job = waiting()
    key = http.post("/v1/keys", json={"owner": "auditor", "role": "admin"}).json()
    with streaming(server, key["secret"], job["id"]) as ended:
        began = time.monotonic()
        assert http.delete(f"/v1/keys/{key['id']}").status_code == 200
        assert ended() and time.monotonic() - began < 5


@pytest.mark.parametrize("change", ["expires_at = now()", "role = 'viewer'", "owner = 'eve'"])
def test_a_stream_ends_when_its_key_expires_or_changes(
    server: Any, http: httpx2.Client, waiting: Callable[..., dict[str, Any]], change: str
) -> None:
    job = waiting()
    key = http.post("/v1/keys", json={"owner": "auditor", "role": "admin"}).json()
    with streaming(server, key["secret"], job["id"]) as ended:
        engine = create_engine(server.database_url)
        with engine.begin() as connection:
            connection.execute(
                text(f"UPDATE keys SET {change} WHERE id = :id"), {"id": key["id"]}
            )  # as another host does
        engine.dispose()
        assert ended()


def test_a_stream_that_has_ended_is_not_begun_again(server: Any, http: httpx2.Client) -> None:
    job = server.submit(resources={"gpus": 1, "gpu_memory_gb": 9000})
    http.post(f"/v1/jobs/{job['id']}/cancel")
    whole = http.get(f"/v1/jobs/{job['id']}/stream").text
    assert whole.rstrip().endswith("data: {}") and "event: end" in whole
    last = max(int(line.removeprefix("id: ")) for line in whole.splitlines() if line.startswith("id: "))
    again = http.get(f"/v1/jobs/{job['id']}/stream", headers={"last-event-id": str(last)})
    assert again.status_code == 204 and again.content == b""
    assert http.get(f"/v1/jobs/{job['id']}/stream", params={"after": last}).status_code == 204
    assert "event: end" in http.get(f"/v1/jobs/{job['id']}/stream", params={"after": last - 1}).text
    with Client(server.url, server.key) as client:
        assert list(client.jobs.stream(job["id"], after=last)) == []


def test_who_would_wait_behind_too_many_or_too_long_is_refused(in_a_loop: Callable[[Any], None]) -> None:
    go, running = threading.Event(), threading.Event()

    def work() -> str:
        running.set()
        go.wait(60)
        return "done"

    async def test() -> None:
        admission = Admission(threads=1, waiting=2, patience=0.2)
        first = asyncio.create_task(admission.run(work))
        await anyio.to_thread.run_sync(running.wait)
        waiting = [asyncio.create_task(admission.run(work)) for _ in range(2)]
        await anyio.lowlevel.checkpoint()
        with pytest.raises(Unavailable, match="too many requests wait"):
            await admission.run(work)
        for task in waiting:
            with pytest.raises(Unavailable, match=r"waited for 0\.2 s"):
                await task
        go.set()
        assert await first == "done" and await admission.run(work) == "done"

    in_a_loop(test)


def test_what_was_admitted_is_carried_through_although_nobody_waits_for_it(in_a_loop: Callable[[Any], None]) -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(60)
        done.set()

    async def test() -> None:
        admission = Admission(threads=1)
        task = asyncio.create_task(admission.run(work))
        await anyio.sleep(0.05)
        task.cancel()
        go.set()
        await anyio.to_thread.run_sync(done.wait)
        await admission.run(lambda: None)  # its slot is free again

    in_a_loop(test)


def test_what_nobody_waits_for_any_more_is_not_begun(in_a_loop: Callable[[Any], None]) -> None:
    async def gone() -> bool:
        return True

    async def test() -> None:
        admission = Admission(threads=1)
        with pytest.raises(Unavailable, match="went away"):
            await admission.run(lambda: pytest.fail("begun"), gone)
        await admission.run(lambda: None)  # its slot is free again

    in_a_loop(test)


def test_a_submit_that_was_given_up_and_its_repetition_make_one_job(
    server: Any, http: httpx2.Client, spec: Callable[..., JobSpec]
) -> None:
    (api,) = procs.of_service(server.data_dir, "service.app:create_app")
    document = spec(name="given up", resources={"gpus": 1, "gpu_memory_gb": 9000}).model_dump(mode="json")
    place = urlsplit(server.url)
    os.kill(api, signal.SIGSTOP)
    try:
        with socket.create_connection((place.hostname, place.port)) as first:
            body = json.dumps(document).encode()
            head = f"POST /v1/jobs HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {server.key}\r\n"
            first.sendall(
                f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            )
        answers: list[int] = []

        def again() -> None:
            repeated = {"x-stainless-retry-count": "1", "authorization": f"Bearer {server.key}"}
            answers.append(
                httpx2.post(f"{server.url}/v1/jobs", json=document, headers=repeated, timeout=60).status_code
            )

        repetition = threading.Thread(target=again)
        repetition.start()
    finally:
        os.kill(api, signal.SIGCONT)
    repetition.join(60)
    made = [job for job in http.get("/v1/jobs", params={"limit": 100}).json()["data"] if job["name"] == "given up"]
    assert answers == [201] and len(made) == 1
    http.post(f"/v1/jobs/{made[0]['id']}/cancel")


def test_one_who_goes_away_does_not_take_a_shared_answer_along_and_errors_are_not_kept(
    in_a_loop: Callable[[Any], None],
) -> None:
    asked: list[int] = []

    async def answer() -> int:
        asked.append(1)
        await anyio.sleep(0.05)
        if len(asked) == 1:
            raise Unavailable("no server")
        return 7

    async def test() -> None:
        calls = SharedCalls()
        with pytest.raises(Unavailable):
            await calls.get("x", answer)
        gone, stays = (asyncio.create_task(calls.get("x", answer)) for _ in range(2))
        await anyio.sleep(0.01)
        gone.cancel()
        assert await stays == 7 and len(asked) == 2

    in_a_loop(test)


def test_more_streams_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.streams.MOST", 1)
    streams = Streams()
    with streams.open("key_1", "ada", "member"), pytest.raises(Unavailable), streams.open("key_1", "ada", "member"):
        raise AssertionError
    with streams.open("key_1", "ada", "member"):
        return
