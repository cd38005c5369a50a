"""The garbage collector deletes what no row names, finds what never got a row, and survives every failure."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from service import commands
from service.dispatcher.garbage import GarbageCollector
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, garbage, jobs
from service.persistence.database import Database
from service.persistence.tables import Checkpoint, Garbage
from service.storage.store import Storage

HOUR = 3600.0
Make = Callable[..., JobSpec]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"), tmp_path / "cache")


@pytest.fixture
def collector(database: Database, storage: Storage) -> GarbageCollector:
    return GarbageCollector(database, lambda: storage)


@pytest.fixture
def job_id(database: Database, spec: Make) -> str:
    """A running job."""
    with database.transaction() as session:
        commands.submit(session, commands.Requester("ada"), spec(), [])
        taken = claims.claim(session, "worker-1", 0, lease_seconds=30)
        assert taken is not None
        return taken.job.id


def store(storage: Storage, tmp_path: Path, key: str, *, old: bool = False) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "weights").write_text("1")
    storage.put(folder, key)
    if old:
        weights = tmp_path / "storage" / key / "weights"
        os.utime(weights, (time.time() - HOUR - 1,) * 2)


def record(database: Database, job_id: str, step: int, key: str) -> Checkpoint:
    with database.transaction() as session:
        return checkpoints.put(session, jobs.get(session, job_id, None, lock=True), step, key, [], {})


def left(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(Garbage)) or 0


def test_files_go_once_their_last_row_is_gone(
    database: Database, storage: Storage, collector: GarbageCollector, tmp_path: Path, job_id: str
) -> None:
    key = f"checkpoints/{job_id}/step-1-attempt-1"
    store(storage, tmp_path, key)
    first, second = record(database, job_id, 1, key), record(database, job_id, 2, key)
    for row, there in ((first, True), (second, False)):
        with database.transaction() as session:
            checkpoints.remove(session, row)
        collector.collect()
        assert storage.exists(key) is there
        assert left(database) == 0


def test_what_cannot_be_deleted_is_tried_again_and_does_not_hold_up_others(
    database: Database, storage: Storage, collector: GarbageCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("checkpoints/a/step-1-attempt-1", "checkpoints/b/step-1-attempt-1"):
        store(storage, tmp_path, key)
        with database.transaction() as session:
            garbage.add(session, key)
    remove = shutil.rmtree

    def failing(path: Path) -> None:
        if "/a/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", failing)
        with pytest.raises(PermissionError):
            collector.collect()
        collector.collect()
    assert storage.below("checkpoints") == ["checkpoints/a"] and left(database) == 1
    collector.collect()
    assert storage.below("checkpoints") == [] and left(database) == 0


def test_a_sweep_finds_old_files_without_a_row_and_nothing_else(
    database: Database, storage: Storage, collector: GarbageCollector, tmp_path: Path, job_id: str
) -> None:
    named, coming = f"checkpoints/{job_id}/step-1-attempt-1", f"checkpoints/{job_id}/step-2-attempt-1"
    young, stale = f"checkpoints/{job_id}/step-2-attempt-0", f"checkpoints/{job_id}/step-1-attempt-0"
    gone, partial = "checkpoints/ftjob-gone/step-1-attempt-1", "partial/checkpoints-ftjob-gone-step-2-attempt-1-ab"
    for key in (named, coming, stale, gone, partial):
        store(storage, tmp_path, key, old=True)
    store(storage, tmp_path, young)
    record(database, job_id, 1, named)
    collector.sweep()
    collector.collect()
    assert [key for key in (named, coming, young) if not storage.exists(key)] == []
    assert [key for key in (stale, gone, partial) if storage.exists(key)] == []


def test_a_storage_that_is_away_keeps_nothing_else_waiting(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    away = GarbageCollector(database, lambda: Storage(str(tmp_path / "file" / "storage"), tmp_path / "cache"))
    away.collect_garbage()
    away.close()


def test_the_duty_returns_at_once_and_a_thread_does_the_work(
    database: Database, storage: Storage, collector: GarbageCollector, tmp_path: Path
) -> None:
    key = "checkpoints/gone/step-1-attempt-1"
    store(storage, tmp_path, key, old=True)
    collector.collect_garbage()
    collector.close()
    assert not storage.exists(key)
