"""A download may take long; the database does not wait for it."""

import hashlib
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
from service.api.dependencies import Services
from service.app import described
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.messaging.wakeups import Listener, Publisher
from service.persistence import checkpoints, jobs, keys
from service.persistence.database import Database
from service.settings import Settings
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
def api(embedded: Servers, database: Database, storage: Storage, tmp_path: Path) -> Iterator[TestClient]:
    """In this process, as the admin."""
    with database.transaction() as session:
        _, secret = keys.add(session, "ada", "admin")
    config = Settings(
        database_url=embedded.database_url, redis_url=embedded.redis_url, storage_url="unused", data_dir=tmp_path
    )
    publisher, listener = Publisher(embedded.redis_url), Listener(embedded.redis_url)
    app = described()
    app.state.services = Services(config, database, storage, publisher, listener)
    with TestClient(app, headers={"authorization": f"Bearer {secret}"}) as client:
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
