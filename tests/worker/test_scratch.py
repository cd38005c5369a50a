"""An attempt's folder goes when the attempt is over, or its worker is dead; never while it lives."""

import subprocess
import sys
from pathlib import Path

from service.storage.copies import Copy
from worker.scratch import Scratch, sweep


def opened(data_dir: Path, attempt: int) -> Scratch:
    scratch = Scratch(data_dir, "job", attempt)
    scratch.open()
    return scratch


def test_it_is_gone_when_the_attempt_is_over(tmp_path: Path) -> None:
    scratch = opened(tmp_path, 1)
    (scratch.path / "step-1").mkdir()
    scratch.close()
    assert list((tmp_path / "work").iterdir()) == []


def test_its_pinned_copies_are_closed_with_it(tmp_path: Path) -> None:
    closed: list[str] = []

    class Recorded(Copy):
        def close(self) -> None:
            closed.append("closed")

    scratch = opened(tmp_path, 1)
    assert scratch.pin(Recorded(tmp_path / "model")) == tmp_path / "model"
    assert closed == []
    scratch.close()
    assert closed == ["closed"]


def test_another_worker_of_this_machine_removes_only_what_the_dead_left(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from worker.scratch import Scratch;"
        "scratch = Scratch(Path(sys.argv[1]), 'job', 1); scratch.open(); (scratch.path / 'step-1').mkdir();"
        "print('ready', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == b"ready\n"
        mine = opened(tmp_path, 2)
        sweep(tmp_path)
        assert (tmp_path / "work/job/attempt-1/step-1").exists() and mine.path.exists()
        other.kill()
        other.wait()
        sweep(tmp_path)
        assert not (tmp_path / "work/job/attempt-1").exists() and mine.path.exists()
    mine.close()
