import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hone.client import ApiError, Client
from hone.client.download import download
from hone.documents import CheckpointFile
from hone.errors import Conflict, HoneError, Invalid, Unavailable


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.url, server.key) as opened:
        yield opened


def test_a_job_from_submission_to_its_checkpoint(client: Client, server: Any, tmp_path: Path) -> None:
    job = client.jobs.wait(server.submit(steps=2)["id"])
    assert (job.status, job.progress.step) == ("succeeded", 2)
    assert client.jobs.list(limit=1).data[0].id == job.id
    assert [series.steps for series in client.jobs.metrics(job.id, "train/loss").series] == [[1, 2]]
    assert client.jobs.events(job.id).data[0].data == {"status": "queued"}
    assert client.jobs.samples(job.id).has_more is False
    checkpoint = client.jobs.checkpoints(job.id).data[0]
    client.checkpoints.download(checkpoint.id, tmp_path / "model")
    assert (tmp_path / "model/config.json").is_file()


def test_a_refusal_carries_status_param_and_code(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.jobs.submit({"algorithm": {"type": "sft"}, "dataset": {}, "stepz": 3})
    assert (refused.value.status, refused.value.param) == (422, "stepz")
    with pytest.raises(ApiError) as missing:
        client.jobs.get("ftjob-none")
    assert (missing.value.status, missing.value.code) == (404, "job_not_found")


def test_the_same_idempotency_key_makes_one_job(client: Client) -> None:
    spec = {"algorithm": {"type": "sft"}, "dataset": {"size": 8}, "resources": {"gpus": 1}}  # which no worker has
    first = client.jobs.submit(spec, idempotency_key="twice")
    assert client.jobs.submit(spec, idempotency_key="twice").id == first.id
    client.jobs.cancel(first.id)


def test_a_service_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:1", "key") as nobody, pytest.raises(Unavailable, match=r"at http://127\.0\.0\.1:1 "):
        nobody.jobs.list()


@contextmanager
def cutting_proxy(url: str, lengths: list[int]) -> Iterator[str]:
    """Passes connections on to `url` and cuts each after so many bytes of the answer; later ones are left alone."""
    parts = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    limits = iter(lengths)

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            left = next(limits, 1 << 40)
            with near, socket.create_connection((parts.hostname or "", parts.port or 0)) as far:
                far.sendall(near.recv(65536))
                while left > 0 and (piece := far.recv(min(left, 65536))):
                    near.sendall(piece)
                    left -= len(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_broken_stream_continues_without_a_gap_or_a_repeat(client: Client, server: Any) -> None:
    job = client.jobs.wait(server.submit(steps=5)["id"])
    whole = [event.seq for event in client.jobs.stream(job.id)]
    with cutting_proxy(server.url, [0, 700, 1500]) as url, Client(url, server.key) as unlucky:
        assert [event.seq for event in unlucky.jobs.stream(job.id)] == whole
    assert whole == list(range(1, job.version + 1))


CONTENT = {"a.txt": b"first", "inner/b.txt": b"second"}


@contextmanager
def content(name: str) -> Iterator[Iterator[bytes]]:
    yield iter([CONTENT[name][:3], CONTENT[name][3:]])


def listed(name: str, body: bytes | None = None) -> CheckpointFile:
    body = CONTENT.get(name, b"") if body is None else body
    return CheckpointFile(name=name, bytes=len(body), sha256=hashlib.sha256(body).hexdigest())


def test_a_download_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    download([listed("a.txt"), listed("inner/b.txt")], content, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder)): path.read_bytes() for path in files} == CONTENT


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([listed("a.txt"), listed("inner/b.txt", b"other")], "arrived with SHA-256"),
        ([listed("a.txt"), listed("../b.txt")], "not a plain name"),
        ([listed("a.txt"), listed("/b.txt")], "not a plain name"),
    ],
)
def test_a_download_that_goes_wrong_leaves_nothing(files: list[CheckpointFile], problem: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=problem):
        download(files, content, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_download_does_not_touch_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(Conflict, match="choose another"):
        download([listed("a.txt")], content, tmp_path)
    assert issubclass(Conflict, HoneError)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
