import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hone.errors import Unavailable
from service.local.interrupts import Interrupted, Interrupts
from service.local.processes import ProcessTree, Program, run

STUBBORN = "trap '' TERM; echo ready; sleep 600 & wait; wait"


def shell(script: str, name: str = "script", grace: float = 10.0) -> Program:
    return Program(name, ("/bin/sh", "-c", script), {"PATH": os.defpath}, grace=grace)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_failed_program_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"(?s)greeter ended with exit code 3; the end of .*greeter\.log:.*  good bye"
    ):
        run(shell("echo hello; echo good bye >&2; exit 3", "greeter"), tmp_path)


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    run(shell("echo hello"), tmp_path)
    assert (tmp_path / "script.log").stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.local.processes.LARGEST_LOG", 3)
    for word in ("first", "second"):
        run(shell(f"echo {word}"), tmp_path)
    assert (tmp_path / "script.log.1").read_text() == "first\n"
    assert (tmp_path / "script.log").read_text() == "second\n"


def test_stopping_ends_the_whole_group_even_if_it_ignores_the_signal(tmp_path: Path) -> None:
    tree = ProcessTree(tmp_path)
    child = tree.start(shell(f"sleep 600 & echo $!; {STUBBORN}", grace=0.2))
    assert eventually(lambda: "ready" in child.log.read_text())
    inner = int(child.log.read_text().split()[0])
    tree.stop()
    assert eventually(lambda: not alive(inner))
    assert child.exit_code() == -signal.SIGKILL


def test_programs_are_stopped_in_the_reverse_order(tmp_path: Path) -> None:
    tree = ProcessTree(tmp_path)
    note = f"trap 'echo $0 >> {tmp_path}/order; exit' TERM; echo ready; while :; do sleep 0.02; done"
    for name in ("database", "api", "worker"):
        child = tree.start(Program(name, ("/bin/sh", "-c", note, name), {"PATH": os.defpath}))
        assert eventually(lambda child=child: "ready" in child.log.read_text())  # type: ignore[misc]
    tree.stop()
    assert (tmp_path / "order").read_text().split() == ["worker", "api", "database"]


def test_a_program_that_dies_is_started_again_and_later_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.local.processes.FIRST_DELAY", 0.05)
    lines: list[str] = []
    tree = ProcessTree(tmp_path, lines.append)
    tree.start(shell("echo started; exit 1", "fickle"))
    assert eventually(lambda: tree.restart_dead() is not None and len(lines) >= 3)
    tree.stop()
    assert [line.split(" (log")[0] for line in lines[:3]] == [
        f"fickle ended with exit code 1; starting it again in {delay} s" for delay in ("0.05", "0.1", "0.2")
    ]
    assert (tmp_path / "fickle.log").read_text().count("started") >= 3


PARENT = """
import sys, time
from pathlib import Path
from service.local.processes import Program, ProcessTree
tree = ProcessTree(Path(sys.argv[1]))
print(tree.start(Program("sleeper", ("/bin/sleep", "600"))).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    assert eventually(lambda: not alive(child))


def test_a_request_to_stop_is_noticed_at_the_next_pause_and_ends_a_long_one() -> None:
    with Interrupts() as interrupts:
        interrupts.pause(0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            interrupts.pause(100_000)


def test_a_second_request_to_stop_does_nothing() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupts.pause(0)


def test_an_interrupted_run_leaves_no_process(tmp_path: Path) -> None:
    def pause(seconds: float) -> None:
        time.sleep(seconds)
        if (tmp_path / "script.log").read_text():
            raise Interrupted

    with pytest.raises(Interrupted):
        run(shell("echo $$; exec sleep 600"), tmp_path, pause)
    assert not alive(int((tmp_path / "script.log").read_text()))
