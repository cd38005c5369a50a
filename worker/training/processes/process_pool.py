"""A killable process whose forks share the items of a call: a hang, a crash or an exception costs its own item only."""

import os
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, Self

from worker.training.processes.child import ChildProcess

Outcome = tuple[Any, str | None]
"""A value, or what went wrong: `math: no answer within 5.0 s`."""
START_SECONDS = 120.0
"""Until it is ready: a busy machine may take long to import sympy."""
MAX_PROCESSES = 4
"""Processes of one job that compute at the same time, where nobody says how many: jobs share machines."""


def processors() -> int:
    """How many processes are worth starting on this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, usable)


class OwnsProcesses:
    """Has a process pool, and ends its processes when closed."""

    def __init__(self, processes: "ProcessPool") -> None:
        self._processes = processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        self._processes.close()


class ProcessPool:
    """The process starts in the background; one caller at a time."""

    def __init__(
        self, module: str, first: dict[str, Any], names: list[str], count: int, deadline_seconds: float
    ) -> None:
        """Runs `module`, which forks up to `count` times, reads `first`, and gives an outcome of each name and item."""
        self._module, self._names = module, names
        self._first = first | {"processes": count, "deadline_seconds": float(deadline_seconds)}
        self._child = ChildProcess(module, self._first) if count else None

    def close(self) -> None:
        """End all of them."""
        if self._child:
            self._child.kill()
        self._child = None

    def run(self, items: Sequence[list[Any]]) -> list[list[Outcome]]:
        """The outcomes of each item: one for each name, or fewer if an error ended its process.

        RuntimeError if the process cannot start. One that dies is started again with what it has not finished, once.
        """
        outcomes: dict[int, list[Outcome]] = {}
        ending = ""
        for _ in range(2):
            unfinished = [index for index in range(len(items)) if index not in outcomes]
            if unfinished:
                ending = self._call(unfinished, items, outcomes)
        for index in range(len(items)):
            outcomes.setdefault(index, [(None, f"{self._names[0]}: its process {ending}")])
        return [outcomes[index] for index in range(len(items))]

    def _call(self, indices: list[int], items: Sequence[list[Any]], outcomes: dict[int, list[Outcome]]) -> str:
        """Fill in the outcomes of these items; how the process ended if some are left."""
        assert self._child is not None
        if self._child.process.poll() is not None:
            self._replace()  # it died between two calls, for instance without memory: no item has caused it
        finished = False
        try:
            self._await_start(self._child)
            self._child.send([items[index] for index in indices])
            left = len(indices)
            while left and (lines := self._child.read()) is not None:
                left -= len(lines)
                for place, found in lines:
                    outcomes[indices[place]] = self._named(found)
            finished = left == 0
            return "" if finished else self._child.exit_description()
        finally:
            if not finished:  # after an interrupt it would go on writing outcomes, which the next call would take
                self._replace()

    def _await_start(self, child: ChildProcess) -> None:
        until = time.monotonic() + START_SECONDS
        while not child.ready:
            readable = wait([child.fileno()], max(0.0, until - time.monotonic()))
            lines = child.read() if readable else None
            if lines is None:
                reason = child.exit_description() if readable else f"not ready within {START_SECONDS} s"
                raise RuntimeError(f"{self._module} did not start ({reason}): {child.stderr_tail()}")
            child.ready = bool(lines)

    def _named(self, found: list[list[Any]]) -> list[Outcome]:
        return [
            (value, None if error is None else f"{name}: {error}")
            for name, (value, error) in zip(self._names, found, strict=False)
        ]

    def _replace(self) -> None:
        assert self._child is not None
        self._child.kill()
        self._child = ChildProcess(self._module, self._first)
