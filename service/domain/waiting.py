"""Why a queued job has not started: a word for programs, a sentence for people."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hone.documents.queue import WaitsFor
from service.domain.queue import GB, Demand, Machine


class Hold(StrEnum):
    """What holds a queued job back, whatever workers there are."""

    PARENT = "parent"
    BACKOFF = "backoff"
    MAX_RUNNING = "max_running"
    MAX_GPUS = "max_gpus"


@dataclass(frozen=True)
class Facts:
    """What is known about a queued job and explains why it waits."""

    demand: Demand
    unfinished_parents: list[str]
    not_before: datetime | None
    max_running: int | None
    max_gpus: int | None


def explain(hold: Hold | None, job: Facts, machines: list[Machine]) -> tuple[WaitsFor, str]:
    """What the job waits for, as a word and a sentence. `machines` are the workers that claim jobs."""
    match hold:
        case Hold.PARENT if job.unfinished_parents:  # the hold may be some seconds older than the facts
            return "parent", f"{' and '.join(job.unfinished_parents)} must succeed first"
        case Hold.BACKOFF if job.not_before is not None:
            return "backoff", f"it was lost and is tried again at {job.not_before:%H:%M:%S} UTC"
        case Hold.MAX_RUNNING:
            return "limit", f"its key runs at most {job.max_running} jobs at a time (max_running)"
        case Hold.MAX_GPUS:
            return "limit", f"its key uses at most {job.max_gpus} GPUs at a time (max_gpus)"
    if not machines:
        return "capacity", "there is no live worker that claims jobs"
    if any(machine.could_run(job.demand) for machine in machines):
        return "worker", "it waits for a free worker"
    if job.demand.spec_version > max(machine.spec_version for machine in machines):
        return "capacity", f"it needs a newer worker, which reads version {job.demand.spec_version} of the spec"
    return "capacity", f"no live worker has {_described(job.demand)}"


def _described(demand: Demand) -> str:
    """Such as `2 GPUs of 80 GB and 64 GB of memory`."""
    parts = []
    if demand.gpus:
        count = "1 GPU" if demand.gpus == 1 else f"{demand.gpus} GPUs"
        parts.append(f"{count} of {demand.gpu_bytes / GB:g} GB" if demand.gpu_bytes else count)
    if demand.memory_bytes:
        parts.append(f"{demand.memory_bytes / GB:g} GB of memory")
    return " and ".join(parts)
