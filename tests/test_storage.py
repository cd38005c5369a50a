"""A storage keeps files and folders under keys, in a directory or behind any fsspec URL."""

import uuid
from pathlib import Path

import pytest

from service.storage import Storage


@pytest.fixture(params=["directory", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The remote one lives in fsspec's memory: it goes the way of S3, through uploads and a cache."""
    url = str(tmp_path / "root") if request.param == "directory" else f"memory://{uuid.uuid4().hex}"
    return Storage(url, tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scratch" / "step-1"
    made.mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "weights").write_bytes(b"\0" * 3_000_000)
    return made


def test_a_folder_is_moved_in_and_found_whole(storage: Storage, folder: Path) -> None:
    storage.put(folder, "checkpoints/job/step-1")
    assert not folder.exists()
    kept = storage.local("checkpoints/job/step-1")
    assert {path.name for path in kept.iterdir()} == {"config.json", "weights"}
    assert (kept / "weights").stat().st_size == 3_000_000


def test_a_single_file_can_be_read_in_pieces_and_as_a_local_path(storage: Storage, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_bytes(b"x" * 2_500_000)
    storage.put(rows, "files/abc")
    assert sum(map(len, storage.read("files/abc"))) == 2_500_000
    assert storage.local("files/abc").read_bytes() == b"x" * 2_500_000


def test_what_is_deleted_is_gone_and_may_be_deleted_again(storage: Storage, folder: Path) -> None:
    storage.put(folder, "checkpoints/job/step-1")
    assert storage.exists("checkpoints/job/step-1")
    storage.delete("checkpoints/job/step-1")
    storage.delete("checkpoints/job/step-1")
    assert not storage.exists("checkpoints/job/step-1")


def test_a_second_put_replaces_what_a_lost_attempt_left(storage: Storage, folder: Path, tmp_path: Path) -> None:
    storage.put(folder, "checkpoints/job/step-1")
    again = tmp_path / "again"
    again.mkdir()
    (again / "config.json").write_text('{"new": 1}')
    storage.put(again, "checkpoints/job/step-1")
    assert "".join(chunk.decode() for chunk in storage.read("checkpoints/job/step-1/config.json")) == '{"new": 1}'
