"""Workers and the queue on a terminal: tables for people; without a terminal, lines with tabs for programs."""

from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hone.cli.show import tabs
from hone.documents import QueuedRead, QueueRead, WorkerRead

GIB = 2**30


def workers(listed: list[WorkerRead]) -> None:
    """One line each."""
    rows = [_worker(worker) for worker in listed]
    _table(("id", "state", "slots", "devices", "memory", "versions", "jobs", "last heartbeat"), rows, "No workers.")


def _worker(worker: WorkerRead) -> tuple[str, ...]:
    state = "dead" if not worker.alive else "draining" if worker.draining else "alive"
    gpus = ", ".join(f"{gpu.index} {gpu.name}{_size(gpu.memory_bytes)}" for gpu in worker.gpus)
    versions = ", ".join(f"{name} {version}" for name, version in worker.versions.items())
    jobs = ", ".join(job.id for job in worker.jobs)
    memory = _size(worker.memory_bytes).strip()
    devices, last_beat = gpus or ", ".join(worker.devices), _time(worker.beat_at)
    return worker.id, state, str(worker.slots), devices, memory, versions, jobs, last_beat


def queue(page: QueueRead) -> None:
    """How busy the service is, then one line for each job."""
    console = Console()
    if console.is_terminal:
        usage = f"slots {page.slots.free} of {page.slots.all} free, GPUs {page.gpus.free} of {page.gpus.all} free"
        console.print(f"{page.running} running, {page.queued} queued, {page.paused} paused; {usage}")
    _table(("", "id", "owner", "priority", "starts about", "waits because"), [_queued(job) for job in page.data], "")


def _queued(job: QueuedRead) -> tuple[str, ...]:
    start = _time(job.estimated_start_at) if job.estimated_start_at else "unknown"
    return str(job.position), job.id, job.owner, str(job.priority), start, job.why


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]], none: str) -> None:
    console = Console()
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table if rows else none)


def _size(size: int) -> str:
    return f" {size / GIB:.0f} GiB" if size else ""


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
