"""Jobs on a terminal: tables for people; without a terminal, lines with tabs for programs."""

from typing import Any

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.live import number, status
from service.schemas import CheckpointRead, JobRead

HEADERS = ("id", "status", "algorithm", "progress", "created", "name")
KINDS = ("type", "source")  # they say which block it is: shown even when they are the default


def jobs(found: list[JobRead]) -> None:
    """One line each."""
    console = Console()
    rows = [_row(job) for job in found]
    if not console.is_terminal:
        _tabs(console, rows)
        return
    table = Table(*HEADERS, box=None, pad_edge=False)
    table.columns[0].no_wrap, table.columns[0].min_width = True, 32  # an id is there to be copied
    for row in rows:
        table.add_row(row[0], status(row[1]), *map(escape, row[2:]))
    console.print(table if rows else "No jobs yet: `hone submit FILE` queues one.")


def _row(job: JobRead) -> tuple[str, ...]:
    steps = f"{job.progress.step}/{job.progress.total_steps}"
    return job.id, job.status, job.algorithm, steps, f"{job.created_at.astimezone():%Y-%m-%d %H:%M}", job.name or ""


def job(one: JobRead, checkpoints: list[CheckpointRead]) -> None:
    """All about one job, its spec as far as it differs from the defaults."""
    console = Console()
    rows = [*_facts(one), *(("checkpoint", _checkpoint(found)) for found in checkpoints)]
    if console.is_terminal:
        grid = Table.grid(padding=(0, 2))
        for name, value in rows:
            grid.add_row(f"[dim]{name}[/]", escape(value))
        console.print(grid)
    else:
        _tabs(console, rows)
    console.file.write("\n" + yaml.safe_dump(chosen(one.spec), sort_keys=False))


def _facts(one: JobRead) -> list[tuple[str, str]]:
    progress = one.progress
    facts = {
        "job": one.id,
        "name": one.name,
        "status": one.status + (f", {progress.phase}" if one.status == "running" else ""),
        "progress": f"step {progress.step} of {progress.total_steps}, attempt {one.attempt}",
        "waits for": ", ".join(one.blocked_by),
        "failure": one.failure and f"{one.failure.category}: {one.failure.message}",
        "hint": one.failure and one.failure.hint,
    }
    metrics = [(name, number(value)) for name, value in sorted(one.metrics.items())]
    return [(name, value) for name, value in facts.items() if value] + metrics


def _checkpoint(found: CheckpointRead) -> str:
    return f"{found.id}, step {found.step}{', the best' if found.best else ''}"


def _tabs(console: Console, rows: "list[tuple[str, ...]] | list[tuple[str, str]]") -> None:
    for row in rows:
        console.file.write("\t".join(row) + "\n")


def chosen(value: Any) -> Any:
    """A spec without its defaults, so that submitting it again means the same."""
    if isinstance(value, list):
        return [chosen(item) for item in value]
    if not isinstance(value, BaseModel):
        return value
    fields = type(value).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {name: chosen(item) for name, item in value if name in KINDS or item != defaults[name]}
