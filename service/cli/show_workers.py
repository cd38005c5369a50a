"""Workers and the queue on a terminal: tables for people; without a terminal, lines with tabs for programs."""

from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.show import tabs
from service.schemas import QueuedRead, QueueRead, WorkerRead

GIB = 2**30


def workers(found: list[WorkerRead]) -> None:
    """One line each."""
    rows = [_worker(worker) for worker in found]
    _table(("id", "state", "slots", "devices", "memory", "versions", "jobs", "heard"), rows, "No workers.")


def _worker(one: WorkerRead) -> tuple[str, ...]:
    state = "dead" if not one.alive else "draining" if one.draining else "alive"
    gpus = ", ".join(f"{gpu.index} {gpu.name}{_size(gpu.memory_bytes)}" for gpu in one.gpus)
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    jobs = ", ".join(job.id for job in one.jobs)
    memory = _size(one.memory_bytes).strip()
    return one.id, state, str(one.slots), gpus or ", ".join(one.devices), memory, versions, jobs, _time(one.beat_at)


def queue(found: QueueRead) -> None:
    """How full the service is, then one line for each job."""
    console = Console()
    if console.is_terminal:
        rooms = f"slots {found.slots.free} of {found.slots.all} free, GPUs {found.gpus.free} of {found.gpus.all} free"
        console.print(f"{found.running} running, {found.queued} queued, {found.paused} paused; {rooms}")
    _table(("", "id", "owner", "priority", "starts about", "waits because"), [_queued(job) for job in found.data], "")


def _queued(one: QueuedRead) -> tuple[str, ...]:
    start = _time(one.estimated_start_at) if one.estimated_start_at else "unknown"
    return str(one.position), one.id, one.owner, str(one.priority), start, one.why


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]], none: str) -> None:
    console = Console()
    if not console.is_terminal:
        return tabs(console, rows)
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table if rows else none)


def _size(size: int) -> str:
    return f" {size / GIB:.0f} GiB" if size else ""


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
