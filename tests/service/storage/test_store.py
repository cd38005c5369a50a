"""A storage keeps files and folders under keys, in a directory or behind any fsspec URL."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.storage.copies import RECENT_SECONDS
from service.storage.store import Storage

KEY = "checkpoints/job/step-1-attempt-1"


@pytest.fixture(params=["directory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of an empty storage."""
    if request.param == "directory":
        return str(tmp_path / "root")
    return f"{request.getfixturevalue('s3').url}/{uuid.uuid4().hex}"


@pytest.fixture
def storage(url: str, tmp_path: Path) -> Storage:
    return Storage(url, tmp_path / "cache")


@pytest.fixture
def remote(s3: Any, tmp_path: Path) -> Storage:
    """In S3, with a cache that holds one checkpoint."""
    return Storage(f"{s3.url}/{uuid.uuid4().hex}", tmp_path / "cache", cache_bytes=4_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "scratch" / "step-1")


def make(folder: Path, text: str = "{}") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    (folder / "weights").write_bytes(b"\0" * 3_000_000)
    return folder


def content(storage: Storage, key: str) -> str:
    return b"".join(storage.read(key)).decode()


def test_a_folder_is_moved_in_and_found_whole(storage: Storage, folder: Path) -> None:
    storage.put(folder, "checkpoints/job/step-1")
    assert not folder.exists()
    stored = storage.local("checkpoints/job/step-1")
    assert {path.name for path in stored.iterdir()} == {"config.json", "weights"}
    assert (stored / "weights").stat().st_size == 3_000_000


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
    assert content(storage, "checkpoints/job/step-1/config.json") == '{"new": 1}'


def test_what_is_below_a_prefix_is_listed_with_its_age(storage: Storage, folder: Path) -> None:
    assert storage.below("checkpoints") == []
    storage.put(folder, KEY)
    assert storage.below("checkpoints") == ["checkpoints/job"]
    assert storage.below("checkpoints/job") == [KEY]
    assert 0 <= storage.seconds_since_write(KEY) < 60
    assert storage.seconds_since_write("checkpoints/job/step-2-attempt-1") == 0


def test_the_last_checkpoint_of_a_job_takes_its_folder_along(storage: Storage, folder: Path) -> None:
    storage.put(folder, KEY)
    storage.delete(KEY)
    assert storage.below("checkpoints") == []


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another file system than the temporary ones."""
    folder = Path(f"/dev/shm/hone-storage-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_from_another_file_system_it_is_copied_beside_and_every_file_is_synced(
    other_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(other_disk / "step-1")
    if source.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    synced: list[str] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    Storage(str(tmp_path / "root"), tmp_path / "cache").put(source, KEY)
    assert not source.exists() and (tmp_path / "root" / KEY / "weights").stat().st_size == 3_000_000
    partial = [path for path in synced if "/partial/checkpoints-job-step-1-attempt-1-" in path]
    assert {path.rpartition("/")[2] for path in partial} >= {"weights", "config.json"}
    assert synced[-1] == str(tmp_path / "root/checkpoints/job")
    assert list((tmp_path / "root/partial").iterdir()) == []


def test_a_full_disk_leaves_the_source_whole_and_nothing_in_the_storage(
    small_disk: Path, folder: Path, tmp_path: Path
) -> None:
    storage = Storage(str(small_disk), tmp_path / "cache")
    with pytest.raises(OSError, match="No space left on device"):
        storage.put(folder, KEY)
    assert (folder / "weights").stat().st_size == 3_000_000
    assert not storage.exists(KEY) and storage.below("partial") == []


def test_a_copy_is_fetched_once_and_again_when_asked_for(remote: Storage, folder: Path) -> None:
    remote.put(folder, KEY)
    with remote.pin(KEY) as copy:
        (copy.path / "config.json").write_text("spoilt")
        assert (remote.local(KEY) / "config.json").read_text() == "spoilt"
        with remote.pin(KEY, refetch=True) as again:
            assert (again.path / "config.json").read_text() == "{}"


def test_a_file_of_a_checkpoint_is_not_taken_for_the_whole(remote: Storage, folder: Path) -> None:
    remote.put(folder, KEY)
    remote.local(f"{KEY}/config.json")
    assert {path.name for path in remote.local(KEY).iterdir()} == {"config.json", "weights"}


def forget_use(tmp_path: Path) -> None:
    """As if all copies had been used long ago."""
    for pin in (tmp_path / "cache").glob("*.pin"):
        os.utime(pin, (time.time() - RECENT_SECONDS - 1,) * 2)


def test_the_least_recently_used_copies_are_evicted_but_none_in_use(
    remote: Storage, folder: Path, tmp_path: Path
) -> None:
    keys = [f"checkpoints/job/step-{step}-attempt-1" for step in (1, 2, 3)]
    remote.put(folder, keys[0])
    for key in keys[1:]:
        remote.put(make(tmp_path / "more" / key), key)
    used, idle = remote.pin(keys[0]), remote.local(keys[1])
    assert used.path.exists() and idle.exists()  # both were used just now
    forget_use(tmp_path)
    newest = remote.local(keys[2])
    assert used.path.exists() and newest.exists() and not idle.exists()
    used.close()
    forget_use(tmp_path)
    assert remote.local(keys[1]).exists()
    assert not used.path.exists()


def test_many_who_want_the_same_copy_fetch_it_once(
    remote: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put(folder, KEY)
    fetched: list[str] = []
    get = remote._fs.get

    def counted(source: str, target: str, **options: Any) -> None:
        fetched.append(source)
        get(source, target, **options)

    monkeypatch.setattr(remote._fs, "get", counted)
    threads = [threading.Thread(target=remote.local, args=(KEY,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_errors_of_other_libraries_become_os_errors(s3: Any, folder: Path, tmp_path: Path) -> None:
    away = Storage("s3://hone", tmp_path / "cache")
    away._fs = type(away._fs)(endpoint_url="http://127.0.0.1:1", config_kwargs={"retries": {"max_attempts": 0}})
    away._fs.retries = 1
    for act in (
        lambda: away.put(folder, KEY),
        lambda: away.local(KEY),
        lambda: away.exists(KEY),
        lambda: away.delete(KEY),
        lambda: away.below("checkpoints"),
        lambda: list(away.read(KEY)),
    ):
        with pytest.raises(OSError, match="the storage could not"):
            act()
    assert (folder / "weights").exists()
