"""The trainer as its supervisor sees it: a process with pipes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hone.errors import Invalid
from worker.protocol import Assignment, Event, Finished, Saved, Step, decode
from worker.trainer.__main__ import SUPERVISOR_GONE, failure

SPEC = {
    "algorithm": {"type": "sft", "batch_size": 2},
    "dataset": {"source": "linear-algebra", "style": "symbolic", "size": 8},
}


def _start() -> tuple[subprocess.Popen[bytes], int]:
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.trainer", "--events-fd", str(writes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[writes],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    os.close(writes)
    return process, reads


def _give(process: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    assignment = Assignment(
        job_id="ftjob-1", attempt=1, spec=SPEC | {"steps": steps}, directory=str(folder), models={"tiny": "tiny"}
    )
    assert process.stdin is not None
    process.stdin.write(assignment.model_dump_json().encode() + b"\n")
    process.stdin.flush()


def test_a_job_runs_over_pipes_and_its_checkpoint_is_left(tmp_path: Path) -> None:
    process, reads = _start()
    _give(process, tmp_path, steps=2)
    with os.fdopen(reads) as pipe:
        events: list[Event] = [decode(line) for line in pipe]
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2]
    assert isinstance(events[-1], Finished)
    (saved,) = [event for event in events if isinstance(event, Saved)]
    assert (Path(saved.directory) / "model.safetensors").is_file()
    log, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    assert b"parameters on cpu" in log
    assert b"Warning" not in log


def test_it_ends_with_its_supervisor(tmp_path: Path) -> None:
    process, reads = _start()
    _give(process, tmp_path, steps=100_000)
    with os.fdopen(reads) as pipe:
        next(line for line in pipe if '"kind":"step"' in line)
        process.communicate(timeout=180)  # closes its stdin
    assert process.returncode == SUPERVISOR_GONE


def test_a_spare_whose_supervisor_ends_leaves_quietly() -> None:
    process, reads = _start()
    log, _ = process.communicate(timeout=180)
    os.close(reads)
    assert process.returncode == 0
    assert log == b""


@pytest.mark.parametrize(
    ("error", "category", "words"),
    [
        (Invalid("model 'x' is unknown", param="model"), "user", "model 'x' is unknown"),
        (MemoryError(), "oom", "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "oom", "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom", "can't allocate"),
        (OSError(errno.ENOSPC, "No space left on device while writing checkpoint step 40"), "infra", "no space left"),
        (ZeroDivisionError("division by zero"), "user", "ZeroDivisionError: division by zero"),
    ],
)
def test_each_error_has_its_category(error: Exception, category: str, words: str) -> None:
    failed = failure(error)
    assert failed.category == category
    assert words in failed.message
    assert failed.detail
