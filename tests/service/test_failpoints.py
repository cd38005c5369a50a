"""Failpoints: each is where its sentence says, acts as often as it is told, and costs nothing otherwise."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from hone.errors import Unavailable
from service import failpoints
from service.failpoints import POINTS, failpoint

ROOT = Path(__file__).parents[2]


def visit(folder: Path, plan: str, name: str, times: int = 1) -> "subprocess.CompletedProcess[str]":
    """Some visits in a process of its own, which prints what happens at each."""
    program = (
        "from service.failpoints import failpoint\n"
        f"for _ in range({times}):\n"
        "    try:\n"
        f"        failpoint({name!r})\n"
        "        print('passed', flush=True)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, flush=True)\n"
    )
    environment = os.environ | {"HONE_FAILPOINTS": plan, "HONE_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)


def test_each_failpoint_is_in_exactly_one_place_and_each_place_is_known() -> None:
    files = [path for package in ("service", "worker") for path in (ROOT / package).rglob("*.py")]
    used = Counter(name for path in files for name in re.findall(r'failpoint\("([\w.]+)"\)', path.read_text()))
    assert dict(used) == dict.fromkeys(POINTS, 1)


def test_each_failpoint_says_what_is_true_there() -> None:
    assert all(len(sentence.split()) > 2 for sentence in POINTS.values())
    assert set(failpoints.STORAGE) <= set(POINTS)


def test_without_the_variable_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path))
    assert failpoints.parse("") == {}
    for name in POINTS:
        failpoint(name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no failpoint 'claim.done'; there are .*claim\.committed"):
        failpoints.parse("claim.done=kill")


def test_unknown_actions_errors_and_forms_are_refused() -> None:
    for wrong in ("claim.written=explode", "claim.written=error:nothing", "claim.written", "claim.written=kill**2"):
        with pytest.raises(ValueError, match=r"no action|no error|is not name=action"):
            failpoints.parse(wrong)


def test_it_acts_so_often_after_so_many_visits(tmp_path: Path) -> None:
    done = visit(tmp_path, "report.written=error*2@1", "report.written", times=5)
    assert done.stdout.split() == ["passed", "Unavailable", "Unavailable", "passed", "passed"]


def test_a_place_where_a_disk_fails_says_so(tmp_path: Path) -> None:
    assert visit(tmp_path, "checkpoint.moving=error", "checkpoint.moving").stdout.split() == ["OSError"]
    assert visit(tmp_path, "checkpoint.moved=timeout", "checkpoint.moved").stdout.split() == ["TimeoutError"]


def test_a_process_that_was_killed_once_does_not_die_again(tmp_path: Path) -> None:
    plan = "claim.committed=kill"
    assert visit(tmp_path, plan, "claim.committed").returncode == -signal.SIGKILL
    assert visit(tmp_path, plan, "claim.committed").stdout.split() == ["passed"]


def test_a_stalled_process_goes_on_when_it_is_continued(tmp_path: Path) -> None:
    environment = os.environ | {
        "HONE_FAILPOINTS": "doorbell.received=stall",
        "HONE_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", "from service.failpoints import failpoint; failpoint('doorbell.received')"]
    with subprocess.Popen(command, env=environment) as process:
        while "T" not in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]:
            time.sleep(0.02)
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 0


def test_a_timeout_of_the_database_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(failpoints, "_faults", failpoints.parse("report.committed=timeout"))
    with pytest.raises(Unavailable, match="did not say whether"):
        failpoint("report.committed")
    failpoint("report.committed")
