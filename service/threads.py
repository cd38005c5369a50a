"""Threads and tasks that run for as long as their process: an unexpected error in one ends the process.

A process whose loop has died would look alive and do nothing. The loop itself catches and retries the errors that it
expects, such as a database that does not answer; any other error is a bug, after which the state of the process is
unknown. So the process ends at once, and its supervisor (`hone up`, docker, systemd) starts it again, as after a
kill -9. Nothing is lost: a worker's trainers end with their pipes, its leases run out, and its jobs continue from their
last checkpoints; what the dispatcher had not committed is due again.

A loop that hangs ends its process as well, for nothing else would: Docker only calls such a process unhealthy. What
counts is whether the loop goes round, not whether it succeeds: a database that is away is no reason to end.

Standard library only: trainers use it as well.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)
HANG_SECONDS = 300.0  # for which a loop stands still that hangs: far beyond each deadline of what it waits for
STDERR = 2  # by its number: what tests put in its place has none
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


class Watchdog:
    """Ends the process, with the stacks of all its threads on standard error, unless `alive` is called in time.

    The clock is a thread in C, which runs even where no Python does. There is one in a process.
    """

    def __init__(self, seconds: float = HANG_SECONDS) -> None:
        self._seconds = seconds

    def alive(self) -> None:
        """The loop has come round; the time begins anew."""
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=STDERR)

    def close(self) -> None:
        """Nobody watches any more."""
        faulthandler.cancel_dump_traceback_later()

    async def watch_event_loop(self) -> None:
        """A task that is alive while the event loop is, until it is cancelled."""
        try:
            while True:
                self.alive()
                await asyncio.sleep(self._seconds / 10)
        finally:
            self.close()


def _ended(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _end_process(task.get_name(), error)


def _end_process(name: str, error: BaseException) -> None:
    log.critical("the loop '%s' failed with an unexpected error; the process ends", name, exc_info=error)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(BROKEN)  # sys.exit would end this thread alone
