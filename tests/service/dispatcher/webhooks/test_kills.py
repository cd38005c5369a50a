"""A dispatcher that is killed while it sends: the delivery is made again, under the same id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, update

from hone.documents.webhook_events import ENDS
from service import commands
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.persistence import deliveries
from service.persistence.database import Database
from service.persistence.tables import Delivery

pytestmark = pytest.mark.faults


@pytest.fixture
def start(embedded: Servers, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the real process."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        "DATABASE_URL": embedded.database_url,
        "REDIS_URL": embedded.redis_url,
        "STORAGE_URL": str(tmp_path / "storage"),
        "HONE_DATA_DIR": str(tmp_path),
        "HONE_WEBHOOK_ALLOW_PRIVATE": "true",
    }

    def make() -> subprocess.Popen[bytes]:
        command, quiet = [sys.executable, "-m", "service.dispatcher"], subprocess.DEVNULL
        started.append(subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=quiet))
        return started[-1]

    yield make
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGKILL)


def test_killed_between_sending_and_recording_it_sends_again_with_the_same_id(
    database: Database,
    spec: Callable[..., JobSpec],
    receiver: Any,
    start: Callable[[], subprocess.Popen[bytes]],
) -> None:
    first = start()

    def kill_the_sender(_: Any) -> int:
        first.kill()
        first.wait()
        return 200

    receiver.answer = kill_the_sender
    with database.transaction() as session:
        webhook = commands.create_webhook(session, "ada", receiver.url, ENDS, private=True)
        job_id = commands.submit(session, commands.Requester("ada"), spec(), []).id
    with database.transaction() as session:
        commands.cancel(session, "ada", job_id)
    receiver.wait(1, seconds=60)
    with database.transaction() as session:
        [delivery] = deliveries.page(session, webhook.id, None, 10)
        assert delivery.attempts == 1 and delivery.delivered_at is None and delivery.next_at is not None
        assert 0 < (delivery.next_at - delivery.created_at).total_seconds() < 60
        session.execute(update(Delivery).values(next_at=func.now()))  # that much time has passed
    receiver.answer = lambda _: 200
    start()
    again = receiver.wait(2, seconds=60)
    assert again[0].id == again[1].id == delivery.id and again[0].body == again[1].body
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with database.transaction() as session:
            [delivery] = deliveries.page(session, webhook.id, None, 10)
        if delivery.delivered_at is not None:
            break
        time.sleep(0.05)
    assert delivery.attempts == 2 and delivery.delivered_at is not None and delivery.next_at is None
    assert [entry["attempt"] for entry in delivery.attempt_log] == [2]  # what came of the first nobody knows
