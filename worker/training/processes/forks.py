"""Forks that share items: one that hangs keeps its item only, and others go on with the rest meanwhile.

An item may take `deadline_seconds`. The items behind one that computes for longer than `PATIENCE_SECONDS` go to another
fork, so that items that hang, hang side by side: a call costs one deadline, however many they are.
"""

import json
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from worker.training.processes.limits import die_with_parent, limit_memory

Handler = Callable[..., list[Any]]
"""An item to `[value, null]` or `[null, "what went wrong"]`."""
MAX_BATCH = 32
"""Items that a fork gets at once: enough to hide the time of the pipes, few enough to distribute evenly."""
PATIENCE_SECONDS = 0.1
"""Of processor time, so that a busy machine does not make every item look as if it hung."""
SHORTEST_WAIT = 0.005
MAX_FORKS = 16
"""Forks that hang at the same time; their memory is limited one by one."""
NICENESS = 5
"""Of forks that seem to hang: the others get three times their share, and one that is only slow still gets on."""


class Fork:
    """A child that handles items with the handlers that its parent had when it was made."""

    def __init__(self, handlers: Sequence[Handler], inherited: Sequence[int]) -> None:
        """`inherited` are files of the parent that it must not keep open."""
        self.assigned: deque[int] = deque()
        """Its items, the current one first."""
        self.active_at = 0.0
        """When it got its items, or wrote its last line."""
        self._computed = 0.0
        """Its processor time then."""
        self.hangs = False
        """Whether it has lost its other items."""
        self._unfinished_line = b""
        tasks, self._tasks = os.pipe()
        self._results, results = os.pipe()
        self._parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_child(handlers, tasks, results, [*inherited, self._tasks, self._results])
        os.close(tasks)
        os.close(results)

    @property
    def files(self) -> tuple[int, int]:
        """What its parent has open to talk with it."""
        return self._tasks, self._results

    @property
    def computing_seconds(self) -> float:
        """Processor time since it got its items, or wrote its last line."""
        return self._processor_time() - self._computed

    def note_activity(self) -> None:
        """It has got its items, or written a line."""
        self.active_at, self._computed = time.monotonic(), self._processor_time()

    def fileno(self) -> int:
        """For select: readable when it has written something, or has died."""
        return self._results

    def give(self, indices: Sequence[int], items: Sequence[Any]) -> None:
        """Items for a fork that has none: it reads all of them before it writes, so neither waits for ever."""
        self.assigned.extend(indices)
        self.note_activity()
        data = memoryview(json.dumps([[index, items[index]] for index in indices]).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._tasks, data) :]
        except BrokenPipeError:
            return  # it is dead; the next read tells

    def read(self) -> list[Any] | None:
        """The lines that have arrived since the last call, or None if it is dead."""
        data = os.read(self._results, 1 << 16)
        *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def lose_others(self) -> list[int]:
        """It keeps its current item, with a lower priority, and ends after it; the others are returned."""
        self.hangs = True
        os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        current, *others = self.assigned
        self.assigned = deque([current])
        return others

    def end(self) -> str:
        """Kill it if it lives; how it ended: `was ended by signal 9`, `exited with 1`."""
        os.kill(self.pid, signal.SIGKILL)  # not yet waited for, so the number is its own
        _, status = os.waitpid(self.pid, 0)
        for file in self.files:
            os.close(file)
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by signal {-code}" if code < 0 else f"exited with {code}"

    def _processor_time(self) -> float:
        """By the clock that Linux gives each process (`clock_getcpuclockid`); elsewhere the time that has passed."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2) if sys.platform == "linux" else time.monotonic()
        except OSError:
            return self._computed  # it has died; the next read tells

    def _be_child(self, handlers: Sequence[Handler], tasks: int, results: int, close: Sequence[int]) -> None:
        status = 1
        try:
            for file in close:
                os.close(file)
            die_with_parent(self._parent)
            limit_memory()
            _handle(handlers, tasks, results)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)


def _handle(handlers: Sequence[Handler], tasks: int, results: int) -> None:
    """Write a line `[index, value, error]` for each item and handler as soon as it is known."""
    with os.fdopen(tasks, encoding="utf-8") as lines:
        for line in lines:
            for index, item in json.loads(line):
                for handle in handlers:
                    data = memoryview(json.dumps([index, *handle(*item)]).encode() + b"\n")
                    while data:
                        data = data[os.write(results, data) :]


class Forks:
    """Forks of this process that share the items of a call; one caller at a time."""

    def __init__(
        self, handlers: Sequence[Handler], count: int, deadline_seconds: float, inherited: Sequence[int]
    ) -> None:
        """At most `count` compute at the same time, beside those that hang."""
        self._handlers, self._count, self._deadline_seconds = handlers, count, deadline_seconds
        self._inherited = inherited
        self._forks: list[Fork] = []

    def run(self, items: Sequence[Any]) -> Iterator[tuple[int, list[list[Any]]]]:
        """Index and outcomes of each item as soon as they are known: one of each handler, or fewer after an error."""
        waiting = deque(range(len(items)))
        outcomes: list[list[list[Any]]] = [[] for _ in items]
        while waiting or any(fork.assigned for fork in self._forks):
            self._distribute(waiting, items)
            for index in self._receive(waiting, outcomes):
                yield index, outcomes[index]

    def _distribute(self, waiting: deque[int], items: Sequence[Any]) -> None:
        size = max(1, min(MAX_BATCH, -(-len(waiting) // self._count)))
        while waiting and sum(not fork.hangs and bool(fork.assigned) for fork in self._forks) < self._count:
            fork = next((each for each in self._forks if not each.assigned), None)
            if fork is None and len(self._forks) >= MAX_FORKS:
                return
            if fork is None:
                open_files = [file for each in self._forks for file in each.files]
                fork = Fork(self._handlers, [*self._inherited, *open_files])
                self._forks.append(fork)
            fork.give([waiting.popleft() for _ in range(min(size, len(waiting)))], items)

    def _receive(self, waiting: deque[int], outcomes: list[list[list[Any]]]) -> list[int]:
        """Wait until a fork writes something or is out of time, and act on it; the items that are finished."""
        busy = [fork for fork in self._forks if fork.assigned]
        until = min(self._limit(fork, waiting) for fork in busy)
        ready, _, _ = select.select(busy, [], [], max(0.0, until - time.monotonic()))
        finished: list[int] = []
        for fork in busy:
            if fork in ready:
                finished += self._read(fork, waiting, outcomes)
            elif time.monotonic() >= fork.active_at + self._deadline_seconds:
                finished += self._fail(fork, f"no answer within {self._deadline_seconds} s", waiting, outcomes)
            elif self._holds_up(fork, waiting) and fork.computing_seconds >= PATIENCE_SECONDS:
                waiting.extendleft(reversed(fork.lose_others()))
        if waiting and len(self._forks) >= MAX_FORKS and all(fork.hangs for fork in self._forks):
            oldest = min(self._forks, key=lambda fork: fork.active_at)
            seconds = time.monotonic() - oldest.active_at
            reason = f"no answer within {seconds:.1f} s, and {MAX_FORKS - 1} others hang too"
            finished += self._fail(oldest, reason, waiting, outcomes)
        return finished

    def _limit(self, fork: Fork, waiting: deque[int]) -> float:
        """When it is out of time, or may have held up others for too long."""
        last = fork.active_at + self._deadline_seconds
        if not self._holds_up(fork, waiting):
            return last
        return min(last, time.monotonic() + max(SHORTEST_WAIT, PATIENCE_SECONDS - fork.computing_seconds))

    @staticmethod
    def _holds_up(fork: Fork, waiting: deque[int]) -> bool:
        return not fork.hangs and bool(len(fork.assigned) > 1 or waiting)

    def _read(self, fork: Fork, waiting: deque[int], outcomes: list[list[list[Any]]]) -> list[int]:
        lines = fork.read()
        if lines is None:
            return self._fail(fork, None, waiting, outcomes)
        finished = []
        for index, value, error in lines:
            outcomes[index].append([value, error])
            fork.note_activity()
            if len(outcomes[index]) == len(self._handlers):
                finished.append(index)
                fork.assigned.popleft()
            if fork.hangs and not fork.assigned:
                self._remove(fork)
                break  # what it wrote of its other items does not count: another fork has them
        return finished

    def _fail(self, fork: Fork, reason: str | None, waiting: deque[int], outcomes: list[list[list[Any]]]) -> list[int]:
        """The current item of a fork has failed; its others wait again, in front."""
        ending = self._remove(fork)
        if not fork.assigned:
            return []  # it died without an item
        failed, *others = fork.assigned
        outcomes[failed].append([None, reason or f"its process {ending}"])
        waiting.extendleft(reversed(others))
        return [failed]

    def _remove(self, fork: Fork) -> str:
        self._forks.remove(fork)
        return fork.end()
