"""What is received stays on this machine's disk no longer than it must."""

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from service.api import uploads
from service.api.middleware import MOST_UPLOADS, BodyLimit
from service.storage.store import Storage

DIES = """
import io, os, pathlib, signal, sys
from service.api import uploads
with uploads.received(io.BytesIO(b"rows"), pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in (folder / "uploads").iterdir()]


def test_what_is_refused_goes_and_what_is_stored_stays_where_it_was_put(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), uploads.received(io.BytesIO(b"rows"), tmp_path) as upload:
        assert (upload.size, upload.path.read_bytes()) == (4, b"rows")
        raise ValueError("refused")
    with uploads.received(io.BytesIO(b"rows"), tmp_path) as upload:
        upload.path.rename(tmp_path / "stored")
    assert left(tmp_path) == [] and (tmp_path / "stored").read_bytes() == b"rows"


def test_what_a_killed_process_left_goes_and_what_another_receives_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
    assert left(tmp_path) == [b"rows"]
    with uploads.received(io.BytesIO(b"others"), tmp_path):
        uploads.sweep(tmp_path)
        assert left(tmp_path) == [b"others"]
    uploads.sweep(tmp_path)
    assert left(tmp_path) == []


ROWS = b'{"prompt": "2+2=", "completion": "4"}\n'


def test_a_full_disk_below_the_form_is_told_as_the_servers_fault(
    local_api: Callable[[Storage], TestClient], tmp_path: Path, full_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    uploads.spool_into(full_disk)
    assert tempfile.gettempdir() == str(full_disk / "uploads")
    with local_api(Storage(str(tmp_path / "storage"), tmp_path / "cache")) as api:
        refused = api.post("/v1/files", files={"file": ("rows.jsonl", ROWS * 100_000)})
        assert refused.status_code == 507 and refused.json()["error"]["code"] == "storage_full"
        (full_disk / "ballast").unlink()
        assert api.post("/v1/files", files={"file": ("rows.jsonl", ROWS * 100_000)}).status_code == 201


def test_a_storage_that_is_away_is_told_as_that_without_its_address(
    local_api: Callable[[Storage], TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("cannot connect to 10.0.0.7:9000")

    monkeypatch.setattr(MemoryFileSystem, "exists", away)  # of fsspec, in the place of a driver
    with local_api(Storage("memory://bucket", tmp_path / "cache")) as api:
        refused = api.post("/v1/files", files={"file": ("rows.jsonl", ROWS)})
    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert refused.json()["error"]["code"] == "storage_unavailable" and "10.0.0.7" not in refused.text


def limited(app: Any) -> BodyLimit:
    return BodyLimit(app, max_upload_bytes=1000)


def scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}


def test_more_uploads_at_once_than_fit_are_refused_and_later_ones_are_not(in_a_loop: Callable[[Any], None]) -> None:
    async def test() -> None:
        go, begun = anyio.Event(), 0
        answers: list[int] = []

        async def app(_: Any, __: Any, send: Any) -> None:
            nonlocal begun
            begun += 1
            await go.wait()
            await send({"type": "http.response.start", "status": 201, "headers": []})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        limit = limited(app)
        async with anyio.create_task_group() as tasks:
            for _ in range(MOST_UPLOADS):
                tasks.start_soon(limit, scope("/v1/files"), receive, send)
            await anyio.wait_all_tasks_blocked()
            await limit(scope("/v1/files"), receive, send)
            assert answers == [503] and begun == MOST_UPLOADS
            go.set()
        await limit(scope("/v1/files"), receive, send)
        assert answers == [503] + [201] * (MOST_UPLOADS + 1)

    in_a_loop(test)


def test_a_body_that_stops_coming_ends_its_request_and_a_stream_may_wait(
    monkeypatch: pytest.MonkeyPatch, in_a_loop: Callable[[Any], None]
) -> None:
    monkeypatch.setattr("service.api.middleware.SILENCE_SECONDS", 0.05)

    async def test() -> None:
        sent = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await anyio.sleep(0.3)
            return {"type": "http.disconnect"}

        async def read_twice(_: Any, receive: Any, __: Any) -> None:
            await receive()
            await receive()

        with pytest.raises(HTTPException) as ended:
            await limited(read_twice)(scope("/v1/jobs"), receive, None)  # type: ignore[arg-type]
        assert ended.value.status_code == 408
        sent.append({"type": "http.request", "body": b"", "more_body": False})
        await limited(read_twice)(scope("/v1/jobs"), receive, None)  # type: ignore[arg-type]

    in_a_loop(test)
