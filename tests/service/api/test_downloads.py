"""A download may take long; the database does not wait for it."""

import hashlib
import io
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

from service import commands
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.persistence import checkpoints, jobs
from service.persistence.database import Database
from service.storage import locks
from service.storage.store import Storage

KEY = "checkpoints/job/step-1-attempt-1"
FILES = [{"name": "config.json", "bytes": 2, "sha256": "0"}]


@pytest.fixture
def storage(s3: Any, tmp_path: Path) -> Storage:
    remote = Storage(f"{s3.url}/{uuid.uuid4().hex}", tmp_path / "cache")
    folder = tmp_path / "step-1"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    remote.put(folder, KEY)
    return remote


@pytest.fixture
def api(local_api: Callable[[Storage], TestClient], storage: Storage) -> Iterator[TestClient]:
    """In this process, as the admin."""
    with local_api(storage) as client:
        yield client


def test_a_file_that_is_being_fetched_holds_no_transaction(
    api: TestClient, embedded: Servers, database: Database, spec: Callable[..., JobSpec], tmp_path: Path
) -> None:
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester("ada"), spec(), []).id
        job = jobs.get(session, job_id, None, lock=True)
        row = checkpoints.put(session, job, 1, KEY, FILES, {}).id
    local = tmp_path / "cache" / hashlib.sha256(f"{KEY}/config.json".encode()).hexdigest()[:32]
    answers: list[bytes] = []
    path = f"/v1/checkpoints/{row}/files/config.json"
    with locks.hold(local.with_suffix(".fetch")):  # somebody else fetches it
        asking = threading.Thread(target=lambda: answers.append(api.get(path).content))
        asking.start()
        while not local.with_suffix(".pin").exists():
            time.sleep(0.01)
        assert idle_in_transaction(embedded) == 0 and not answers
    asking.join(60)
    assert answers == [b"{}"]


def idle_in_transaction(embedded: Servers) -> int:
    engine = create_engine(embedded.database_url)
    with engine.connect() as connection:
        count = connection.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = 'hone'")
        )
    engine.dispose()
    return int(count)


CONTENT = {"config.json": b"{}", "weights/model.safetensors": bytes(range(256)) * 700, "empty": b"", "x" * 120: b"long"}


@pytest.fixture
def checkpoint(
    database: Database, spec: Callable[..., JobSpec], storage: Storage, tmp_path: Path
) -> Callable[..., str]:
    """A checkpoint of four files; keyword arguments replace what the storage holds."""

    def make(**stored: bytes) -> str:
        key = f"checkpoints/job/step-2-{uuid.uuid4().hex}"
        folder = tmp_path / uuid.uuid4().hex
        for name, content in (CONTENT | {name.replace("__", "/"): data for name, data in stored.items()}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        storage.put(folder, key)
        files = [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in CONTENT.items()
        ]
        with database.transaction() as session:
            job_id = commands.submit(session, commands.Requester("ada"), spec(), []).id
            job = jobs.get(session, job_id, None, lock=True)
            return checkpoints.put(session, job, 2, key, files, {}).id

    return make


def test_an_archive_has_its_length_and_each_part_of_it_is_the_same(
    api: TestClient, checkpoint: Callable[..., str]
) -> None:
    path = f"/v1/checkpoints/{checkpoint()}/archive"
    whole = api.get(path)
    assert int(whole.headers["content-length"]) == len(whole.content)
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as tar:
        unpacked = {name.partition("/")[2]: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    assert unpacked == CONTENT
    size = len(whole.content)
    for start, stop in [(0, 1), (511, 513), (512, 514), (1536, size - 1024), (size - 1, size), (700, 180_000)]:
        part = api.get(path, headers={"range": f"bytes={start}-{stop - 1}"})
        assert part.status_code == 206 and part.content == whole.content[start:stop]
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    assert api.get(path, headers={"range": "bytes=-100"}).content == whole.content[-100:]
    assert api.get(path, headers={"range": f"bytes={size - 7}-"}).content == whole.content[-7:]
    behind = api.get(path, headers={"range": f"bytes={size}-"})
    assert behind.status_code == 416 and behind.headers["content-range"] == f"bytes */{size}"
    for header in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-5", "bytes=-", "nonsense"):
        assert api.get(path, headers={"range": header}).content == whole.content
    etag = whole.headers["etag"]
    assert api.get(path, headers={"if-none-match": etag}).status_code == 304
    assert api.get(path, headers={"if-range": '"other"', "range": "bytes=0-1"}).content == whole.content
    assert api.get(path, headers={"if-range": etag, "range": "bytes=0-1"}).status_code == 206


@pytest.mark.parametrize(
    "stored",
    [
        {"weights__model.safetensors": CONTENT["weights/model.safetensors"][:-1]},
        {"weights__model.safetensors": CONTENT["weights/model.safetensors"] + b"x"},
        {"weights__model.safetensors": b"y" + CONTENT["weights/model.safetensors"][1:]},
        {"empty": b"not"},
    ],
)
def test_an_archive_of_damaged_files_breaks_off(
    api: TestClient, checkpoint: Callable[..., str], stored: dict[str, bytes]
) -> None:
    with pytest.raises(RuntimeError, match="response already started"):  # a server closes the connection at that
        api.get(f"/v1/checkpoints/{checkpoint(**stored)}/archive")


def test_a_file_of_another_length_is_refused(api: TestClient, checkpoint: Callable[..., str]) -> None:
    row = checkpoint(weights__model=b"", **{"config.json": b"{"})
    answer = api.get(f"/v1/checkpoints/{row}/files/config.json")
    assert answer.status_code == 409 and "1 of 2 bytes are stored" in answer.json()["error"]["message"]
    intact = api.get(f"/v1/checkpoints/{row}/files/empty")
    assert intact.content == b"" and intact.headers["etag"] == f'"{hashlib.sha256(b"").hexdigest()}"'
