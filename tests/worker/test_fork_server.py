"""Trainers that a process forks which has imported torch."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig import procs

from worker.fork_server import ForkServer
from worker.protocol import Assignment, Event, Failed, Finished, Saved, Step
from worker.trainer_process import LogLine, TrainerProcess

SPEC = {
    "algorithm": {"type": "sft", "batch_size": 2},
    "dataset": {"source": "linear-algebra", "style": "symbolic", "size": 8},
}
LONG = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    running = ForkServer()
    yield running
    running.close()


@pytest.fixture
def own_server() -> Iterator[ForkServer]:
    """One that may be killed, and has not imported torch yet."""
    running = ForkServer()
    yield running
    running.close()


def assignment(folder: Path, steps: int, model: str = "tiny") -> Assignment:
    spec = SPEC | {"steps": steps, "model": "tiny"}
    return Assignment(job_id="ftjob-1", attempt=1, spec=spec, directory=str(folder), models={"tiny": model})


def outputs(trainer: TrainerProcess, until: Callable[[object], bool] = lambda output: False) -> list[Event | LogLine]:
    """What it sends and prints, to its end or `until`."""
    read: list[Event | LogLine] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        new = trainer.read(1)
        read.extend(new or [])
        if new is None or any(until(output) for output in new):
            return read
    raise AssertionError(read)


def is_step(output: object) -> bool:
    return isinstance(output, Step)


def saved(read: list[Event | LogLine]) -> bytes:
    (event,) = [output for output in read if isinstance(output, Saved)]
    return (Path(event.directory) / "model.safetensors").read_bytes()


def test_forked_trainers_print_save_and_end_as_executed_ones_do(server: ForkServer, tmp_path: Path) -> None:
    first, second, executed = TrainerProcess(server), TrainerProcess(server), TrainerProcess()
    with first, second, executed:
        for name, trainer in (("1", first), ("2", second), ("3", executed)):
            trainer.start(assignment(tmp_path / name, steps=3))
        read = [outputs(trainer) for trainer in (first, second, executed)]
        assert all(any(isinstance(output, Finished) for output in output_of_one) for output_of_one in read)
        assert saved(read[0]) == saved(read[1]) == saved(read[2])
        assert any("parameters on cpu" in output.text for output in read[0] if isinstance(output, LogLine))
        assert first.exit_reason() == executed.exit_reason() == "the trainer exited with status 0 before it was done"
        assert os.getpgid(second.pid) == second.pid != first.pid


def test_what_a_job_fails_of_ends_its_own_trainer_only(server: ForkServer, tmp_path: Path) -> None:
    with TrainerProcess(server) as bad, TrainerProcess(server) as good:
        bad.start(assignment(tmp_path / "bad", steps=2, model=str(tmp_path / "nowhere")))
        assert any(isinstance(output, Failed) for output in outputs(bad))
        good.start(assignment(tmp_path / "good", steps=2))
        assert any(isinstance(output, Finished) for output in outputs(good))


def test_a_trainer_is_killed_at_once_while_its_server_is_stopped(server: ForkServer, tmp_path: Path) -> None:
    with TrainerProcess(server) as trainer:
        trainer.start(assignment(tmp_path, steps=LONG))
        outputs(trainer, is_step)
        os.kill(server.pid, signal.SIGSTOP)
        killing = threading.Thread(target=trainer.kill)
        killing.start()
        assert outputs(trainer)[-1:] is not None  # its pipes are closed
        os.kill(server.pid, signal.SIGCONT)
        killing.join(60)
        assert not trainer.alive and trainer.exit_reason() == "the trainer was killed by SIGKILL"


def test_trainers_die_with_their_server_and_those_asked_for_later_are_dead(
    own_server: ForkServer, tmp_path: Path
) -> None:
    with TrainerProcess(own_server) as trainer:
        trainer.start(assignment(tmp_path, steps=LONG))
        outputs(trainer, is_step)
        os.kill(own_server.pid, signal.SIGKILL)
        outputs(trainer)
        assert trainer.exit_reason() == "the trainer was killed by SIGKILL"
    assert own_server.ended
    with TrainerProcess(own_server) as late:
        late.start(assignment(tmp_path, steps=1))
        assert late.read(1) is None and not late.alive


def test_a_trainer_that_is_dropped_before_its_server_is_ready_never_trains(
    own_server: ForkServer, tmp_path: Path
) -> None:
    dropped = TrainerProcess(own_server)
    dropped.start(assignment(tmp_path, steps=LONG))
    dropped.kill()
    with TrainerProcess(own_server) as next_one:
        next_one.start(assignment(tmp_path / "next", steps=1))
        outputs(next_one)
    while dropped.alive:
        time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["next"]


WORKER = """
import sys, time
from pathlib import Path
from tests.worker.test_fork_server import assignment, is_step, outputs
from worker.fork_server import ForkServer
from worker.trainer_process import TrainerProcess
server = ForkServer()
trainer = TrainerProcess(server)
trainer.start(assignment(Path(sys.argv[1]), steps=100_000))
outputs(trainer, is_step)
print(server.pid, trainer.pid, flush=True)
time.sleep(600)
"""


def test_server_and_trainers_end_with_a_killed_worker(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        pids = [int(word) for word in worker.stdout.readline().split()]
        worker.kill()
    deadline = time.monotonic() + 60
    while any(procs.running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
