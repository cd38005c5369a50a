"""The trainer process: `python -m worker.trainer --events-fd N`. It trains one job, then ends.

It imports torch before it knows its job, so that a spare trainer starts without delay, or forks one for each job
(`--fork-server-fd N`: `worker/trainer/forkserver.py`); then it reads an Assignment from
stdin, trains, and writes events, one JSON document per line, to the descriptor. Later lines on stdin are Commands. The
end of stdin means that the supervisor is gone: the process ends at once. What it prints becomes the job's log.
"""

import argparse
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, TextIO

# OpenMP's threads wait for each other in a busy loop, which on a shared machine makes a step up to 20 times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# First, because it takes seconds: a spare trainer imports it before its assignment comes.
import torch
import transformers
from transformers.models.llama import modeling_llama as _warm  # noqa: F401

from hone.errors import Invalid
from service.threads import LoopThread
from worker.protocol import Alive, Assignment, Command, Event, Failed, Finished, Started, Step, Stop, Stopped, encode
from worker.trainer.forkserver import ForkServer
from worker.training import loop
from worker.training.out_of_memory import is_out_of_memory

log = logging.getLogger("worker.trainer")
SUPERVISOR_GONE = 3
HEARTBEAT_SECONDS = 5.0
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class Inbox:
    """Reads stdin in a thread: commands, and its end, when the supervisor has died."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin = stdin
        self._stop: Stop | None = None
        self._over = threading.Event()

    def assignment(self) -> Assignment | None:
        """The first line; None if stdin ended without one."""
        line = self._stdin.readline()
        return Assignment.model_validate_json(line) if line.strip() else None

    def listen(self) -> None:
        """Read commands in a thread during the training."""
        LoopThread(self._read, "commands").start()

    def stop(self) -> Stop | None:
        """The command to stop, if one has come. A cancel overrides a pause, whose checkpoint is not wanted then."""
        return self._stop

    def close(self) -> None:
        """Ignore the end of stdin from now on: the last event is written."""
        self._over.set()

    def _read(self) -> None:
        for line in self._stdin:
            command = Command.model_validate_json(line).command
            self._stop = "cancel" if "cancel" in (command, self._stop) else command
        if not self._over.is_set():
            os._exit(SUPERVISOR_GONE)


def train(assignment: Assignment, stop: loop.ShouldStop, send: Callable[[Event], None]) -> None:
    """Run the job; an exception becomes its last event."""
    try:
        for event in loop.run(assignment, stop):
            _log(event)
            send(event)
    except Exception as error:  # noqa: BLE001 - the docstring says why
        last = failure(error)
        _log(last)
        send(last)


def failure(error: Exception) -> Failed:
    """What an exception means for the owner of the job."""
    detail = "".join(traceback.format_exception(error))[-8000:]
    if isinstance(error, Invalid):
        return Failed(category="user", message=error.message, hint=error.param and f"see {error.param}", detail=detail)
    if is_out_of_memory(error):
        hint = "lower micro_batch_tokens, max_completion_length, num_generations or batch_size, or take a smaller model"
        return Failed(category="oom", message=f"out of memory: {_first_line(error)}", hint=hint, detail=detail)
    if isinstance(error, OSError) and error.errno in DISK:
        reason = error.strerror or os.strerror(error.errno or errno.EIO)
        hint = (
            "free space in the worker's data directory, or ask its operator; the job continues from its last checkpoint"
        )
        return Failed(category="infra", message=reason[:1].lower() + reason[1:], hint=hint, detail=detail)
    return Failed(category="user", message=f"{type(error).__name__}: {_first_line(error)}", detail=detail)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:500]


def _log(event: Event) -> None:
    """Print a few lines for people; the supervisor records the events themselves."""
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

    def send(event: Event) -> None:
        with lock:
            pipe.write(encode(event))
            pipe.flush()

    return send


def _send_heartbeats(send: Callable[[Event], None], over: threading.Event) -> None:
    """Show the supervisor that this process is not frozen."""
    while not over.wait(HEARTBEAT_SECONDS):
        send(Alive())


def run(descriptor: int) -> int:
    """Train the job that stdin names and write its events to the descriptor.

    0 once a last event (finished, stopped or failed) is written, or when there is nothing to do.
    """
    os.set_inheritable(descriptor, False)  # reward processes must not hold the pipe open
    inbox = Inbox(sys.stdin.buffer)
    assignment = inbox.assignment()
    if assignment is None:
        return 0
    inbox.listen()
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        send, over = _write_to(pipe), threading.Event()
        heartbeat = threading.Thread(target=_send_heartbeats, args=(send, over), name="heartbeat", daemon=True)
        heartbeat.start()
        train(assignment, inbox.stop, send)
        inbox.close()
        over.set()
        heartbeat.join()
    sys.stdout.flush()
    return 0


def main() -> int:
    """Be one trainer, or fork them until the supervisor is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--events-fd", type=int, help="an open descriptor to write events to")
    files.add_argument("--fork-server-fd", type=int, help="a Unix socket over which trainers are asked for")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if arguments.events_fd is not None:
        return run(arguments.events_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the worker, which ends this socket
    gc.freeze()  # pages that the garbage collector would write to stay shared with the trainers
    with socket.socket(fileno=arguments.fork_server_fd) as control:
        ForkServer(control, run).serve()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # otherwise the process would wait for the thread that reads stdin
