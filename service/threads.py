"""Threads and tasks that run for as long as their process: an unexpected error in one ends the process.

A process whose loop has died would look alive and do nothing. The loop itself catches and retries the errors that it
expects, such as a database that does not answer; any other error is a bug, after which the state of the process is
unknown. So the process ends at once, and its supervisor (`hone up`, docker, systemd) starts it again, as after a
kill -9. Nothing is lost: a worker's trainers end with their pipes, its leases run out, and its jobs continue from their
last checkpoints; what the dispatcher had not committed is due again.

Standard library only: trainers use it as well.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)
BROKEN = 70  # the exit status after an internal error (EX_SOFTWARE of sysexits.h)


class LoopThread(threading.Thread):
    """Runs a loop until it returns. An exception is logged once, and ends the process."""

    def __init__(self, loop: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._loop = loop

    def run(self) -> None:
        """Called by `start`."""
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - any error ends the process
            _end_process(self.name, error)


def end_process_on_error(task: "asyncio.Task[None]") -> None:
    """The same for a loop that is an asyncio task."""
    task.add_done_callback(_ended)


def _ended(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _end_process(task.get_name(), error)


def _end_process(name: str, error: BaseException) -> None:
    log.critical("the loop '%s' failed with an unexpected error; the process ends", name, exc_info=error)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(BROKEN)  # sys.exit would end this thread alone
