"""Jobs on a terminal: tables for people; without a terminal, lines with tabs for programs."""

from collections.abc import Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.domain.presets import PRESETS
from service.domain.webhooks import body
from service.live import number, status
from service.schemas import (
    CheckpointRead,
    DeliveryAttempt,
    DeliveryRead,
    JobRead,
    KeyRead,
    PresetRead,
    StageRead,
    WebhookRead,
)

HEADERS = ("id", "status", "algorithm", "progress", "created", "name")
WIDTH = 100  # of comments
KINDS = ("type", "source")  # they say which block it is: shown even when they are the default


def jobs(found: list[JobRead]) -> None:
    """One line each."""
    console = Console()
    rows = [_row(job) for job in found]
    if not console.is_terminal:
        tabs(console, rows)
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
    _named(console, [*_facts(one), *(("checkpoint", _checkpoint(found)) for found in checkpoints)])
    preset = PRESETS.get(one.spec.algorithm.preset or "")
    console.file.write("\n" + _yaml(chosen(one.spec, preset.fields if preset else {})))


def _named(console: Console, rows: list[tuple[str, str]]) -> None:
    """A name and a value on each line."""
    if not console.is_terminal:
        tabs(console, rows)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(f"[dim]{name}[/]", escape(value))
    console.print(grid)


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
    said = {"the best": found.best, "promoted": found.promoted, "damaged": found.damaged}
    return ", ".join([found.id, f"step {found.step}", *(word for word, true in said.items() if true)])


def _table(headers: Sequence[str], rows: Sequence[tuple[str, ...]], none: str) -> None:
    console = Console()
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table if rows else none)


def webhooks(found: list[WebhookRead]) -> None:
    """One line each."""
    rows = [(one.id, "enabled" if one.enabled else "disabled", one.url, ", ".join(one.events)) for one in found]
    _table(("id", "state", "url", "events"), rows, "No webhooks yet: `hone add-webhook URL` makes one.")


def deliveries(found: list[DeliveryRead]) -> None:
    """One line each."""
    rows = [(one.id, one.status, one.type, one.job_id or "", f"{one.attempts}", _answer(one)) for one in found]
    _table(("id", "status", "type", "job", "attempts", "answer"), rows, "Nothing was sent yet.")


def delivery(one: DeliveryRead) -> None:
    """What became of a message, one line for each attempt, and the message as it was sent."""
    console = Console()
    facts = {
        "delivery": one.id,
        "status": one.status,
        "type": one.type,
        "job": one.job_id,
        "next try": one.next_at and _time(one.next_at),
    }
    _named(console, [(name, value) for name, value in facts.items() if value])
    rows = [(f"{each.attempt}", _time(each.at), f"{each.seconds:.2f} s", _answer(each)) for each in one.attempt_log]
    console.file.write("\n")
    _table(("attempt", "begun", "took", "answer"), rows, "No attempt is recorded.")
    console.file.write(f"\n{body(one.payload)}\n")


def _answer(one: DeliveryRead | DeliveryAttempt) -> str:
    return one.error or str(one.status_code or "")


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def keys(found: list[KeyRead]) -> None:
    """One line each."""
    rows = [(one.id, one.owner, one.role, _state(one), _limits(one)) for one in found]
    _table(("id", "owner", "role", "state", "limits"), rows, "No keys.")


def _state(one: KeyRead) -> str:
    return "revoked" if one.revoked_at else f"until {one.expires_at:%Y-%m-%d}" if one.expires_at else "valid"


def _limits(one: KeyRead) -> str:
    limits = {"running": one.max_running, "queued": one.max_queued, "GPUs": one.max_gpus}
    return ", ".join(f"{most} {name}" for name, most in limits.items() if most is not None)


def tabs(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """For programs."""
    for row in rows:
        console.file.write("\t".join(row) + "\n")


def chosen(value: Any, preset: Any = None) -> Any:
    """A spec without its defaults, so that submitting it again means the same.

    Where its preset names a field, the default is not what a missing one would mean: the field is shown.
    """
    if isinstance(value, list):
        return [chosen(item) for item in value]
    if not isinstance(value, BaseModel):
        return value
    named = preset if isinstance(preset, dict) else {}
    fields = type(value).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {
        name: chosen(item, named.get(name))
        for name, item in value
        if name in KINDS or name in named or item != defaults[name]
    }


def presets(found: list[PresetRead]) -> None:
    """One line each."""
    console = Console()
    rows = [(one.name, one.algorithm, one.title) for one in found]
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table("name", "algorithm", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print("\n`hone presets NAME` shows the fields of one; a spec uses it by `algorithm: {preset: NAME}`.")


def preset(one: PresetRead) -> None:
    """Its fields as YAML, which a spec may begin with; what is told about them stands in comments."""
    console = Console()
    told = [line for text in (one.title, f"Source: {one.source}", one.notes) for line in wrap(text, WIDTH)]
    recipe = [line for place, stage in enumerate(one.stages, 1) for line in _stage(place, stage)]
    console.file.write(_comment(told) + _yaml(one.fields) + _comment(recipe))


def _stage(place: int, stage: StageRead) -> list[str]:
    """A job of the recipe."""
    return ["", f"Stage {place}: {stage.title}", *_yaml(stage.fields).splitlines()]


def _comment(lines: list[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)
