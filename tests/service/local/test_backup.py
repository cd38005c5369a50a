"""Backups of a running service, and a life after the restore."""

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from hone.client import Client
from hone.datadir import DataDir
from hone.errors import Conflict, Invalid
from service.local import backup as backups
from service.local.backup import backup, restore
from service.persistence import checkpoints, jobs
from service.persistence.database import Database
from service.persistence.tables import Checkpoint

Launch = Callable[..., Any]
STEPS = 150


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that PostgreSQL's own user may pass, which it needs where the tests run as root."""
    made = Path(tempfile.mkdtemp(prefix="hone-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def stop(server: Any) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)


def quiet(line: str) -> None:
    raise AssertionError(line)


def losses(server: Any, job_id: str) -> list[float | None]:
    with Client(server.url, server.key) as client:
        series = client.jobs.metrics(job_id, "train/loss").series[0]
        assert series.steps == list(range(1, len(series.steps) + 1))
        return series.values


@pytest.fixture
def origin(folder: Path, launch: Launch) -> Iterator[Any]:
    (folder / "origin").mkdir(mode=0o755)
    server = launch(folder / "origin")
    try:
        yield server
    finally:
        stop(server)


def test_a_backup_of_a_running_service_goes_on_elsewhere(folder: Path, launch: Launch, origin: Any) -> None:
    done = origin.wait(origin.submit()["id"])
    running = origin.submit(steps=STEPS, checkpoint={"every": 5, "keep_last": 1}, max_restarts=0)
    origin.wait(running["id"], until=lambda job: job["progress"]["step"] > 20)
    backup(DataDir(origin.data_dir), DataDir(origin.data_dir).storage, folder / "backup", quiet)
    assert origin.wait(running["id"])["status"] == "succeeded"
    said: list[str] = []
    restore(folder / "backup", DataDir(folder / "copy"), said.append)
    assert "1 jobs that ran then are queued again" in said[0]
    copy = launch(folder / "copy")
    try:
        assert copy.key == origin.key
        again = copy.wait(running["id"])
        assert (again["status"], again["attempt"]) == ("succeeded", 2)
        assert losses(copy, running["id"]) == losses(origin, running["id"])
        assert losses(copy, done["id"]) == losses(origin, done["id"])
        with Client(copy.url, copy.key) as client:
            newest = client.jobs.checkpoints(done["id"]).data[0]
            client.checkpoints.download(newest.id, folder / "model")  # refuses what has another hash
    finally:
        stop(copy)


def test_a_stopped_service_is_backed_up_and_what_it_has_lost_or_the_backup_lost_is_named(
    folder: Path, launch: Launch
) -> None:
    (folder / "origin").mkdir(mode=0o755)
    server = launch(folder / "origin")
    with Client(server.url, server.key) as client:
        (folder / "rows.jsonl").write_text('{"prompt": "1+1=", "completion": "2"}\n')
        file = client.files.upload(folder / "rows.jsonl")
    job = server.wait(server.submit(steps=1)["id"])
    stop(server)
    data, said = DataDir(folder / "origin"), list[str]()
    shutil.rmtree(data.storage / "checkpoints")
    backup(data, data.storage, folder / "backup", said.append)
    assert len(said) == 1 and said[0].startswith(f"checkpoints/{job['id']}/") and "is not in the storage" in said[0]
    manifest = json.loads((folder / "backup/manifest.json").read_text())
    assert manifest["missing"] == [said[0].split()[0]]
    assert (folder / "backup").stat().st_mode & 0o777 == 0o700
    with pytest.raises(Conflict, match="exists: choose another"):
        backup(data, data.storage, folder / "backup", quiet)
    with pytest.raises(Conflict, match="is not empty"):
        restore(folder / "backup", data, quiet)
    (folder / f"backup/storage/files/{file.sha256}").write_text("something else")
    with pytest.raises(Invalid, match="the backup is damaged: storage/files/"):
        restore(folder / "backup", DataDir(folder / "copy"), quiet)
    assert not (folder / "copy").exists() and not list(folder.glob(".*"))


def test_a_checkpoint_that_goes_while_a_backup_is_written_is_in_neither_rows_nor_files(
    folder: Path, database: Database, spec: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, data = folder / "storage", DataDir(folder)
    (folder / "logs").mkdir()
    (folder / "backup").mkdir()
    with database.transaction() as session:
        job = jobs.add(session, "ada", spec(), jobs.Origin())
        assert job is not None
        for step in (1, 2):
            (storage / f"step-{step}").mkdir(parents=True)
            (storage / f"step-{step}/model").write_text(f"weights {step}")
            checkpoints.put(session, job, step, f"step-{step}", [], {})
    copied: list[str] = []

    def meanwhile(source: Path, target: Path) -> Iterator[tuple[str, str]]:
        if not copied:  # the service supersedes both, in the moment before the first is copied
            with database.transaction() as session:
                session.execute(update(Checkpoint).where(Checkpoint.step == 2).values(storage_key="step-3"))
                session.execute(delete(Checkpoint).where(Checkpoint.step == 1))
            (storage / "step-1").rename(storage / "step-3")
            shutil.rmtree(storage / "step-2")
        copied.append(source.name)
        yield from real(source, target)

    real = backups._copy
    monkeypatch.setattr(backups, "_copy", meanwhile)
    sockets = Path(database.url.partition("host=")[2])
    backups._Backup(data, storage, folder / "backup", sockets, quiet).write(database)
    assert sorted(path.name for path in (folder / "backup/storage").iterdir()) == ["step-3"]
    manifest = json.loads((folder / "backup/manifest.json").read_text())
    assert list(manifest["files"]) == ["database.dump", "storage/step-3/model"] and manifest["missing"] == []


def test_a_folder_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"is not a backup: it has no readable manifest\.json"):
        restore(tmp_path, DataDir(tmp_path / "new"), quiet)
    with pytest.raises(Invalid, match="has no database of its own"):
        backup(DataDir(tmp_path), tmp_path, tmp_path / "backup", quiet)
