"""A job does not start from a damaged checkpoint, and its log says which one it skipped."""

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, clock, events, jobs, metrics
from service.persistence.tables import Checkpoint
from service.storage.store import Storage
from worker.assignment import prepare
from worker.attempt import Claim
from worker.protocol import Assignment
from worker.scratch import Scratch

Make = Callable[..., JobSpec]


@pytest.fixture
def scratch(tmp_path: Path, claim: Claim) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path, claim.job_id, claim.attempt)
    yield scratch
    scratch.close()


def assignment(bench: Any, claim: Claim, scratch: Scratch) -> Assignment | None:
    return prepare(bench.attempt(claim, scratch=scratch), [])


def flip(path: Path) -> None:
    """One bit of its last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def weights(bench: Any, row: Checkpoint) -> Path:
    return Path(bench.storage.local(row.storage_key) / "model.safetensors")


def damaged(bench: Any, job_id: str) -> list[int]:
    with bench.database.transaction() as session:
        return [row.step for row in checkpoints.of_job(session, job_id) if row.damaged]


def test_a_job_continues_from_its_newest_checkpoint(bench: Any, claim: Claim, scratch: Scratch) -> None:
    bench.stored(claim, 1)
    newest = bench.stored(claim, 2)
    prepared = assignment(bench, claim, scratch)
    assert prepared is not None and prepared.resume_from == str(bench.storage.local(newest.storage_key))
    assert damaged(bench, claim.job_id) == []


def harm_a_byte(path: Path) -> None:
    flip(path / "model.safetensors")


def harm_a_size(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"")


def harm_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"files": [')


def replace_all(path: Path) -> None:
    (path / "manifest.json").write_text('{"files": []}')


@pytest.mark.parametrize("harm", [harm_a_byte, harm_a_size, harm_the_manifest, replace_all, shutil.rmtree])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_the_job_rewound_to_the_one_before(
    bench: Any, claim: Claim, scratch: Scratch, harm: Callable[[Path], None]
) -> None:
    before, newest = bench.stored(claim, 1), bench.stored(claim, 2)
    with bench.database.transaction() as session:
        for step in (1, 2):
            metrics.put(session, claim.job_id, step, {"train/loss": 1.0})
    harm(bench.storage.local(newest.storage_key))
    prepared = assignment(bench, claim, scratch)
    assert prepared is not None and prepared.resume_from == str(bench.storage.local(before.storage_key))
    assert damaged(bench, claim.job_id) == [2]
    (warning,) = bench.warnings(claim.job_id)
    assert "step-2" in warning and "; the job continues from step 1; look at the disk" in warning
    with bench.database.transaction() as session:
        job = jobs.get(session, claim.job_id, None)
        assert job.progress["step"] == 1
        assert metrics.best_step(session, job.id, "train/loss", [2], highest=False) is None


def test_without_an_undamaged_checkpoint_the_job_starts_again(bench: Any, claim: Claim, scratch: Scratch) -> None:
    for row in (bench.stored(claim, 1), bench.stored(claim, 2)):
        flip(weights(bench, row))
    prepared = assignment(bench, claim, scratch)
    assert prepared is not None and prepared.resume_from is None
    assert "; the job continues from the start" in bench.warnings(claim.job_id)[-1]


def test_a_storage_that_lost_everything_is_not_taken_for_damage(bench: Any, claim: Claim, scratch: Scratch) -> None:
    bench.stored(claim, 1)
    shutil.rmtree(bench.folder / "storage" / "checkpoints")
    bench.storage.retry_seconds = 0.1
    assert assignment(bench, claim, scratch) is None
    assert damaged(bench, claim.job_id) == []
    with bench.database.transaction() as session:
        job = jobs.get(session, claim.job_id, None)
        assert (job.status, job.restarts, job.max_restarts, job.failure) == ("queued", 0, 0, None)
        assert job.not_before is not None and job.not_before > clock.now(session)
        moved = events.page(session, claim.job_id, 0, 100, ["status"])[-1].data
    assert "is it mounted" in moved["reason"]


def test_a_storage_that_comes_back_in_time_costs_no_attempt_and_is_noted(
    bench: Any, claim: Claim, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, folder = bench.stored(claim, 1), bench.folder / "storage" / "checkpoints"
    folder.rename(bench.folder / "away")
    bench.storage.retry_seconds = 60.0
    monkeypatch.setattr("worker.assignment.FIRST_WAIT_SECONDS", 0.05)

    def come_back() -> None:
        until_warned(bench, claim)
        (bench.folder / "away").rename(folder)

    back = threading.Thread(target=come_back)
    back.start()
    prepared = assignment(bench, claim, scratch)
    back.join(60)
    assert prepared is not None and prepared.resume_from == str(bench.storage.local(newest.storage_key))
    (warning,) = bench.warnings(claim.job_id)
    assert "cannot be fetched: the storage has no checkpoints at all" in warning and "trying for 60 s" in warning


def until_warned(bench: Any, claim: Claim) -> None:
    deadline = time.monotonic() + 30
    while not bench.warnings(claim.job_id) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_full_scratch_disk_fails_the_job_as_infra(bench: Any, claim: Claim, tmp_path: Path) -> None:
    (tmp_path / "work").touch()  # no folder can be made there
    scratch = Scratch(tmp_path, claim.job_id, claim.attempt)
    assert assignment(bench, claim, scratch) is None
    assert failure(bench, claim)["category"] == "infra" and "HONE_DATA_DIR" in failure(bench, claim)["hint"]
    scratch.close()


def failure(bench: Any, claim: Claim) -> Any:
    with bench.database.transaction() as session:
        return jobs.get(session, claim.job_id, None).failure


@pytest.fixture
def child(bench: Any, claim: Claim, spec: Make) -> Claim:
    """A job that starts from the newest checkpoint of `claim`, which has succeeded."""
    bench.stored(claim, 1)
    bench.stored(claim, 2)
    with bench.database.transaction() as session:
        jobs.move(session, jobs.get(session, claim.job_id, None, lock=True), JobEvent.FINISH)
    child: Claim = bench.claim(spec(model=f"job:{claim.job_id}@latest"))
    return child


def test_a_model_of_another_job_is_verified_and_named_when_it_is_damaged(
    bench: Any, claim: Claim, child: Claim, scratch: Scratch
) -> None:
    with bench.database.transaction() as session:
        newest = checkpoints.of_job(session, claim.job_id)[0]
    flip(weights(bench, newest))
    assert assignment(bench, child, scratch) is None
    reason = failure(bench, child)
    assert reason["category"] == "infra" and f"checkpoint step-2 of job {claim.job_id} is damaged" in reason["message"]
    assert "model.safetensors" in reason["message"] and damaged(bench, claim.job_id) == [2]
    assert f"found when job {child.job_id} started from it" in bench.warnings(claim.job_id)[-1]


@pytest.mark.parametrize("broken", [False, True])
def test_verifying_checkpoints_does_not_shorten_a_long_lease(
    bench: Any, child: Claim, scratch: Scratch, broken: bool
) -> None:
    if broken:
        bench.stored(child, 1)
        flip(weights(bench, bench.stored(child, 2)))
    assert prepare(bench.attempt(child, scratch=scratch, lease_seconds=3600), []) is not None
    with bench.database.transaction() as session:
        ends = jobs.get(session, child.job_id, None).lease_expires_at
        assert ends is not None and (ends - clock.now(session)).total_seconds() > 1800


def test_every_attempt_starts_from_the_same_checkpoint_of_its_parent(
    bench: Any, claim: Claim, child: Claim, scratch: Scratch
) -> None:
    first = assignment(bench, child, scratch)
    bench.stored(claim, 3)
    scratch.close()
    again = assignment(bench, child, scratch)
    assert first is not None and again is not None and first.models == again.models


def test_a_bad_copy_is_fetched_again_before_the_storage_is_blamed(
    bench: Any, claim: Claim, scratch: Scratch, s3: Any, tmp_path: Path
) -> None:
    bench.storage = Storage(f"{s3.url}/{uuid.uuid4().hex}", tmp_path / "cache")
    before, newest = bench.stored(claim, 1), bench.stored(claim, 2)
    flip(weights(bench, newest))
    prepared = assignment(bench, claim, scratch)
    assert prepared is not None and prepared.resume_from == str(bench.storage.local(newest.storage_key))
    assert damaged(bench, claim.job_id) == []
    scratch.close()
    bench.storage._fs.rm(f"{bench.storage._root}/{newest.storage_key}/model.safetensors")
    flip(weights(bench, newest))
    prepared = assignment(bench, claim, scratch)
    assert prepared is not None and prepared.resume_from == str(bench.storage.local(before.storage_key))
    assert damaged(bench, claim.job_id) == [2]
