"""Estimates when queued jobs start, by simulating claims. Pure arithmetic.

The simulation assumes that a job takes as long as other jobs of its algorithm took, that nothing fails, that nobody
submits more, and that every worker claims the first job of the queue that fits. A start that depends on an unknown
length is unknown.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

GB = 10**9


@dataclass(frozen=True)
class Demand:
    """What a job needs from a worker."""

    gpus: int = 0
    gpu_bytes: int = 0  # of each GPU
    memory_bytes: int = 0
    spec_version: int = 1


@dataclass(frozen=True)
class Machine:
    """A worker that may claim jobs: its capacity, and how much of it is free."""

    id: str
    slots: int
    gpus: tuple[int, ...] = ()  # bytes of each one; 0: unknown
    memory_bytes: int = 0  # 0: unknown
    free_slots: int = 0
    free_gpus: int = 0
    spec_version: int = 1  # the newest that it can read

    def could_run(self, demand: Demand) -> bool:
        """Whether the job would fit if no other job ran there."""
        large = [size for size in self.gpus if not size or size >= demand.gpu_bytes]
        is_large = len(large) >= demand.gpus and (not self.memory_bytes or self.memory_bytes >= demand.memory_bytes)
        return is_large and self.spec_version >= demand.spec_version

    def has_capacity(self, demand: Demand) -> bool:
        """Whether the job fits now, next to the jobs that run there."""
        return self.free_slots > 0 and self.free_gpus >= demand.gpus and self.could_run(demand)


@dataclass(frozen=True)
class ClaimedJob:
    """A job that runs on a machine."""

    machine: str
    gpus: int
    seconds_left: float | None
    """None: unknown."""


@dataclass(frozen=True)
class WaitingJob:
    """A queued job that nothing but the lack of a free worker holds back."""

    id: str
    demand: Demand
    seconds: float | None
    """How long it will run; None: unknown."""


@dataclass
class _WaitingJobs:
    """The waiting jobs in their order, grouped by demand, so that the next one that fits is found quickly."""

    by_demand: dict[Demand, deque[tuple[int, WaitingJob]]] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Sequence[WaitingJob]) -> "_WaitingJobs":
        waiting = cls()
        for position, job in enumerate(jobs):
            waiting.by_demand.setdefault(job.demand, deque()).append((position, job))
        return waiting

    def next_for(self, machine: Machine) -> WaitingJob | None:
        """Take the first job that fits what the machine has free."""
        fitting = [jobs for demand, jobs in self.by_demand.items() if jobs and machine.has_capacity(demand)]
        return min(fitting, key=lambda jobs: jobs[0][0]).popleft()[1] if fitting else None


def estimate_starts(
    machines: Sequence[Machine], claimed: Sequence[ClaimedJob], queue: Sequence[WaitingJob]
) -> dict[str, float]:
    """By id, the seconds until each job of the queue starts; jobs whose start is unknown are missing."""
    starts: dict[str, float] = {}
    waiting, free, order = _WaitingJobs.of(queue), {machine.id: machine for machine in machines}, count()
    ends = [(job.seconds_left, next(order), job.machine, job.gpus) for job in claimed if job.seconds_left is not None]
    heapq.heapify(ends)
    now, claiming = 0.0, list(free)
    while True:
        for name in claiming:
            while (job := waiting.next_for(free[name])) is not None:
                starts[job.id] = now
                free[name] = _changed(free[name], -1, -job.demand.gpus)
                if job.seconds is not None:
                    heapq.heappush(ends, (now + job.seconds, next(order), name, job.demand.gpus))
        if not ends or len(starts) == len(queue):
            return starts
        now, _, name, gpus = heapq.heappop(ends)
        claiming = [name] if name in free else []
        if claiming:
            free[name] = _changed(free[name], 1, gpus)


def _changed(machine: Machine, slots: int, gpus: int) -> Machine:
    return replace(machine, free_slots=machine.free_slots + slots, free_gpus=machine.free_gpus + gpus)
