"""When queued jobs might start: claims played forward, on what is known now. Pure arithmetic.

An estimate and no promise: jobs take as long as others of their algorithm took, nothing fails, nobody submits more, and
every worker takes the first job of the line that fits. What rests on a length that is not known stays unknown.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

GB = 10**9


@dataclass(frozen=True)
class Demand:
    """What a job needs of a worker."""

    gpus: int = 0
    gpu_bytes: int = 0  # of each of them
    memory_bytes: int = 0


@dataclass(frozen=True)
class Machine:
    """A worker that claims: what it has, and what of it is free."""

    id: str
    slots: int
    gpus: tuple[int, ...] = ()  # bytes of each; 0: unknown
    memory_bytes: int = 0  # 0: unknown
    free_slots: int = 0
    free_gpus: int = 0

    def could_run(self, demand: Demand) -> bool:
        """Whether the job would fit if nothing else ran there."""
        large = [size for size in self.gpus if not size or size >= demand.gpu_bytes]
        return len(large) >= demand.gpus and (not self.memory_bytes or self.memory_bytes >= demand.memory_bytes)

    def has_room(self, demand: Demand) -> bool:
        """Whether it fits beside what runs."""
        return self.free_slots > 0 and self.free_gpus >= demand.gpus and self.could_run(demand)


@dataclass(frozen=True)
class Running:
    """A job on a machine."""

    machine: str
    gpus: int
    seconds: float | None  # until it ends; none: unknown


@dataclass(frozen=True)
class Waiting:
    """A job in the line."""

    id: str
    demand: Demand
    seconds: float | None  # that it will run; none: unknown


@dataclass
class _Line:
    """The waiting jobs in their order, sorted by what they need: the next that fits is found without passing all."""

    by_demand: dict[Demand, deque[tuple[int, Waiting]]] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Sequence[Waiting]) -> "_Line":
        line = cls()
        for place, job in enumerate(jobs):
            line.by_demand.setdefault(job.demand, deque()).append((place, job))
        return line

    def next_for(self, machine: Machine) -> Waiting | None:
        """Take the first that the machine has room for."""
        fitting = [waiting for demand, waiting in self.by_demand.items() if waiting and machine.has_room(demand)]
        return min(fitting, key=lambda waiting: waiting[0][0]).popleft()[1] if fitting else None


def starts(machines: Sequence[Machine], running: Sequence[Running], line: Sequence[Waiting]) -> dict[str, float]:
    """The seconds after which each job of the line starts; one for which that cannot be told is missing."""
    found: dict[str, float] = {}
    waiting, free, order = _Line.of(line), {machine.id: machine for machine in machines}, count()
    ends = [(job.seconds, next(order), job.machine, job.gpus) for job in running if job.seconds is not None]
    heapq.heapify(ends)
    now, looking = 0.0, list(free)
    while True:
        for name in looking:
            while (job := waiting.next_for(free[name])) is not None:
                found[job.id] = now
                free[name] = _changed(free[name], -1, -job.demand.gpus)
                if job.seconds is not None:
                    heapq.heappush(ends, (now + job.seconds, next(order), name, job.demand.gpus))
        if not ends or len(found) == len(line):
            return found
        now, _, name, gpus = heapq.heappop(ends)
        looking = [name] if name in free else []
        if looking:
            free[name] = _changed(free[name], 1, gpus)


def _changed(machine: Machine, slots: int, gpus: int) -> Machine:
    return replace(machine, free_slots=machine.free_slots + slots, free_gpus=machine.free_gpus + gpus)
