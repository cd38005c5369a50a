"""The child's main: `python -m worker.trainer --events-fd N`. One job, then the end of the process.

It loads torch before it knows its job, so that a spare one starts in no time; then it reads an Assignment from stdin,
trains, and writes events, one JSON document a line, to the descriptor. Later lines on stdin are Commands. The end of
stdin means that the supervisor is gone: the process ends at once. What it prints becomes the job's log.
"""

import argparse
import errno
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, TextIO

# OpenMP's threads wait for each other in a busy loop, which on a shared machine makes a step up to 20 times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# First, because it takes seconds: whoever starts a spare wants this done before the assignment comes.
import torch
import transformers
from transformers.models.llama import modeling_llama as _warm  # noqa: F401

from service.domain.errors import Invalid
from worker.training import loop
from worker.training.events import (
    Alive,
    Assignment,
    Command,
    Event,
    Failed,
    Finished,
    Started,
    Step,
    Stop,
    Stopped,
    encode,
)

log = logging.getLogger("worker.trainer")
SUPERVISOR_GONE = 3
BEAT_SECONDS = 5.0
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class Inbox:
    """Listens to stdin in a thread: commands, and the silence of a dead supervisor."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin = stdin
        self._stop: Stop | None = None
        self._over = threading.Event()

    def assignment(self) -> Assignment | None:
        """The first line; None if nobody will ever send one."""
        line = self._stdin.readline()
        return Assignment.model_validate_json(line) if line.strip() else None

    def listen(self) -> None:
        """Read on, beside the training."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def stop(self) -> Stop | None:
        """Whether the job was told to stop, and how. Who cancels does not want what a pause saves."""
        return self._stop

    def close(self) -> None:
        """The last event is written: the end of stdin means nothing any more."""
        self._over.set()

    def _read(self) -> None:
        for line in self._stdin:
            asked = Command.model_validate_json(line).command
            self._stop = "cancel" if "cancel" in (asked, self._stop) else asked
        if not self._over.is_set():
            os._exit(SUPERVISOR_GONE)


def train(assignment: Assignment, stop: loop.ShouldStop, say: Callable[[Event], None]) -> None:
    """Run the job; whatever goes wrong becomes its last event."""
    try:
        for event in loop.run(assignment, stop):
            _log(event)
            say(event)
    except Exception as error:  # noqa: BLE001 - the docstring says why
        last = failure(error)
        _log(last)
        say(last)


def failure(error: Exception) -> Failed:
    """What an exception means for the owner of the job."""
    detail = "".join(traceback.format_exception(error))[-8000:]
    if isinstance(error, Invalid):
        return Failed(category="user", message=error.message, hint=error.param and f"see {error.param}", detail=detail)
    if _is_out_of_memory(error):
        hint = "lower micro_batch_tokens, max_completion_length, num_generations or batch_size, or take a smaller model"
        return Failed(category="oom", message=f"out of memory: {_first_line(error)}", hint=hint, detail=detail)
    if isinstance(error, OSError) and error.errno in DISK:
        reason = error.strerror or os.strerror(error.errno or errno.EIO)
        hint = (
            "free space in the worker's data directory, or ask its operator; the job goes on from its last checkpoint"
        )
        return Failed(category="infra", message=reason[:1].lower() + reason[1:], hint=hint, detail=detail)
    return Failed(category="user", message=f"{type(error).__name__}: {_first_line(error)}", detail=detail)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:500]


def _log(event: Event) -> None:
    """A few lines for people; the events themselves are recorded elsewhere."""
    match event:
        case Started():
            where = f"{event.device}, {event.precision}, {torch.get_num_threads()} threads, torch {torch.__version__}"
            log.info("model of %s parameters on %s", f"{event.parameters:,}", where)
            log.info("%d of %d steps are done", event.resumed_step, event.total_steps)
        case Stopped():
            log.info("stopped after step %d", event.step)
        case Failed():
            log.error("failed (%s): %s", event.category, event.message)
        case Step(step=1):
            log.info("first step took %.2f s", event.metrics["time/step"])
        case Finished():
            log.info("all steps are done")


def _write_to(pipe: TextIO) -> Callable[[Event], None]:
    lock = threading.Lock()

    def say(event: Event) -> None:
        with lock:
            pipe.write(encode(event))
            pipe.flush()

    return say


def _beat(say: Callable[[Event], None], over: threading.Event) -> None:
    """Tell the supervisor that this process runs: one that is frozen says nothing."""
    while not over.wait(BEAT_SECONDS):
        say(Alive())


def main() -> int:
    """0 once a last event (finished, stopped or failed) is written, or when there is nothing to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events-fd", type=int, required=True, help="an open descriptor to write events to")
    descriptor = parser.parse_args().events_fd
    os.set_inheritable(descriptor, False)  # reward processes must not hold the pipe open
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    inbox = Inbox(sys.stdin.buffer)
    assignment = inbox.assignment()
    if assignment is None:
        return 0
    inbox.listen()
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        say, over = _write_to(pipe), threading.Event()
        beat = threading.Thread(target=_beat, args=(say, over), name="beat", daemon=True)
        beat.start()
        train(assignment, inbox.stop, say)
        inbox.close()
        over.set()
        beat.join()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # nothing to tidy: and the thread that waits on stdin must not hold the process
