"""Two dispatchers: one acts; the other takes over when it is killed or stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from service.local.embedded import Servers
from service.persistence import leadership, outbox
from service.persistence.database import Database
from service.persistence.tables import Outbox

pytestmark = pytest.mark.faults
LEADER = f"""SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'dispatcher-%'
  AND (l.classid::bigint << 32) | l.objid::bigint = {leadership.LOCK}"""


class Dispatchers:
    """Real processes; each is known to PostgreSQL by its name."""

    def __init__(self, servers: Servers, database: Database, folder: Path) -> None:
        self.servers, self.database, self.folder = servers, database, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        environment = {
            "DATABASE_URL": self.servers.database_url,
            "REDIS_URL": self.servers.redis_url,
            "STORAGE_URL": str(self.folder / "storage"),
            "HONE_DATA_DIR": str(self.folder / name),
            "PGAPPNAME": f"dispatcher-{name}",
        }
        command = [sys.executable, "-m", "service.dispatcher"]
        quiet = subprocess.DEVNULL
        self.running[name] = subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=quiet)
        until(180, (self.folder / name / "dispatcher.beat").exists)

    def leader(self) -> str | None:
        with self.database.transaction() as session:
            name: str | None = session.scalar(text(LEADER))
        return name.removeprefix("dispatcher-") if name else None

    def rounds_until_it_leads(self, name: str) -> int:
        """How often it went round meanwhile: a busy machine makes its rounds longer, and not more."""
        beat, seen = self.folder / name / "dispatcher.beat", set[int]()

        def leads() -> bool:
            seen.add(beat.stat().st_mtime_ns)
            return self.leader() == name

        until(120, leads)
        return len(seen) - 1

    def wait_for_leader(self, name: str, seconds: float) -> float:
        """How long it took."""
        return until(seconds, lambda: self.leader() == name)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def until(seconds: float, holds: Callable[[], Any]) -> float:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + seconds
        time.sleep(0.05)
    return time.monotonic() - started


@pytest.fixture
def dispatchers(embedded: Servers, database: Database, tmp_path: Path) -> Iterator[Dispatchers]:
    """Two, of which the first leads."""
    made = Dispatchers(embedded, database, tmp_path)
    try:
        for name in ("first", "second"):
            made.start(name)
        assert made.leader() == "first"
        yield made
    finally:
        made.stop()


def send_a_doorbell(database: Database, seconds: float) -> float:
    """How long it took until a message of the outbox was sent."""
    with database.transaction() as session:
        outbox.add(session, outbox.TRAIN, {})

    def empty() -> bool:
        with database.transaction() as session:
            return session.scalar(select(func.count()).select_from(Outbox)) == 0

    return until(seconds, empty)


def test_a_standby_takes_over_from_a_killed_leader_within_two_of_its_rounds_of_a_second(
    dispatchers: Dispatchers, database: Database
) -> None:
    send_a_doorbell(database, 60)
    dispatchers.signal("first", signal.SIGKILL)
    assert dispatchers.rounds_until_it_leads("second") <= 2
    send_a_doorbell(database, 60)


def test_a_standby_takes_over_from_a_stopped_leader_which_does_not_act_when_it_wakes_up(
    dispatchers: Dispatchers, database: Database
) -> None:
    dispatchers.signal("first", signal.SIGSTOP)
    assert dispatchers.wait_for_leader("second", 45) < 20
    send_a_doorbell(database, 60)
    dispatchers.signal("first", signal.SIGCONT)
    beat = dispatchers.folder / "first" / "dispatcher.beat"
    awake = time.time()
    until(60, lambda: beat.stat().st_mtime > awake)  # it has asked, and stands by
    assert dispatchers.leader() == "second"


def test_after_the_leaders_connection_was_cut_one_leads_again(dispatchers: Dispatchers, database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("SELECT pg_terminate_backend(pid, 2000) FROM pg_locks WHERE locktype = 'advisory'"))
    until(60, dispatchers.leader)
    with database.transaction() as session:
        assert len(session.scalars(text(LEADER)).all()) == 1
    send_a_doorbell(database, 60)
