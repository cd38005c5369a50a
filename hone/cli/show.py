"""Jobs on a terminal: tables for people; without a terminal, lines with tabs for programs."""

from collections.abc import Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hone.cli import models
from hone.cli.live import number, status
from hone.cli.spec_view import without_defaults
from hone.documents import (
    CheckpointRead,
    DeliveryAttempt,
    DeliveryRead,
    EventRead,
    HealthNote,
    JobRead,
    JobSummary,
    KeyRead,
    PresetRead,
    StageRead,
    WebhookRead,
)
from hone.documents.status import Progress
from hone.documents.webhook_events import body

HEADERS = ("id", "status", "algorithm", "progress", "created", "name")
WIDTH = 100  # of comments


def jobs(listed: list[JobSummary]) -> None:
    """One line each."""
    console = Console()
    rows = [_row(job) for job in listed]
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table(*HEADERS, box=None, pad_edge=False)
    table.columns[0].no_wrap, table.columns[0].min_width = True, 32  # ids are shown whole, so that they can be copied
    for row in rows:
        table.add_row(row[0], status(row[1]), *map(escape, row[2:]))
    console.print(table if rows else "No jobs yet: `hone submit FILE` queues one.")


def _row(job: JobSummary) -> tuple[str, ...]:
    steps = f"{job.progress.step}/{job.progress.total_steps or '?'}"
    return job.id, job.status, job.algorithm, steps, f"{job.created_at.astimezone():%Y-%m-%d %H:%M}", job.name or ""


def job(shown: JobRead, checkpoints: list[CheckpointRead], loaded: list[EventRead]) -> None:
    """Everything about one job; of its spec, the fields that differ from the defaults."""
    console = Console()
    saved = [("checkpoint", _checkpoint(each)) for each in checkpoints]
    _named(console, [*_facts(shown), *models.facts(loaded), *saved])
    console.file.write("\n" + _yaml(without_defaults(shown.spec, shown.spec_version)))


def _named(console: Console, rows: list[tuple[str, str]]) -> None:
    """A name and a value on each line."""
    if not console.is_terminal:
        tabs(console, rows)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(f"[dim]{name}[/]", escape(value))
    console.print(grid)


def _epochs(progress: Progress) -> str | None:
    per_epoch = progress.steps_per_epoch
    return f"{progress.step / per_epoch:.2f}, {per_epoch:g} steps each" if per_epoch else None


def _facts(job: JobRead) -> list[tuple[str, str]]:
    progress = job.progress
    facts = {
        "job": job.id,
        "name": job.name,
        "status": job.status + (f", {progress.phase}" if job.status == "running" else ""),
        "progress": f"step {progress.step} of {progress.total_steps or '?'}, attempt {job.attempt}",
        "epochs": _epochs(progress),
        "waits for": ", ".join(job.blocked_by) or job.why,
        "failure": job.failure and f"{job.failure.category}: {job.failure.message}",
        "hint": job.failure and job.failure.hint,
    }
    notes = [(note.severity, _health_note(note)) for note in job.health_notes]
    metrics = [(name, number(value)) for name, value in sorted(job.metrics.items())]
    return [(name, value) for name, value in facts.items() if value] + notes + metrics


def _health_note(note: HealthNote) -> str:
    seen = f"step {note.first_step}" + (f" to {note.last_step}" if note.last_step > note.first_step else "")
    text = f"{note.message}; {note.remedy}" if note.remedy else note.message
    return f"{text} [{note.code}, {seen}]" if note.last_step else f"{text} [{note.code}]"


def _checkpoint(checkpoint: CheckpointRead) -> str:
    marks = {"the best": checkpoint.best, "promoted": checkpoint.promoted, "damaged": checkpoint.damaged}
    return ", ".join([checkpoint.id, f"step {checkpoint.step}", *(name for name, is_set in marks.items() if is_set)])


def _table(headers: Sequence[str], rows: Sequence[tuple[str, ...]], none: str) -> None:
    console = Console()
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table if rows else none)


def webhooks(listed: list[WebhookRead]) -> None:
    """One line each."""
    rows = [(hook.id, "enabled" if hook.enabled else "disabled", hook.url, ", ".join(hook.events)) for hook in listed]
    _table(("id", "state", "url", "events"), rows, "No webhooks yet: `hone add-webhook URL` makes one.")


def deliveries(listed: list[DeliveryRead]) -> None:
    """One line each."""
    rows = [(sent.id, sent.status, sent.type, sent.job_id or "", f"{sent.attempts}", _answer(sent)) for sent in listed]
    _table(("id", "status", "type", "job", "attempts", "answer"), rows, "Nothing was sent yet.")


def delivery(shown: DeliveryRead) -> None:
    """The status of a message, one line for each attempt, and the message as it was sent."""
    console = Console()
    facts = {
        "delivery": shown.id,
        "status": shown.status,
        "type": shown.type,
        "job": shown.job_id,
        "next try": shown.next_at and _time(shown.next_at),
    }
    _named(console, [(name, value) for name, value in facts.items() if value])
    rows = [
        (f"{attempt.attempt}", _time(attempt.at), f"{attempt.seconds:.2f} s", _answer(attempt))
        for attempt in shown.attempt_log
    ]
    console.file.write("\n")
    _table(("attempt", "begun", "took", "answer"), rows, "No attempt is recorded.")
    console.file.write(f"\n{body(shown.payload)}\n")


def _answer(attempt: DeliveryRead | DeliveryAttempt) -> str:
    return attempt.error or str(attempt.status_code or "")


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def keys(listed: list[KeyRead]) -> None:
    """One line each."""
    rows = [(key.id, key.owner, key.role, _state(key), _limits(key)) for key in listed]
    _table(("id", "owner", "role", "state", "limits"), rows, "No keys.")


def _state(key: KeyRead) -> str:
    return "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "valid"


def _limits(key: KeyRead) -> str:
    limits = {"running": key.max_running, "queued": key.max_queued, "GPUs": key.max_gpus}
    return ", ".join(f"{limit} {name}" for name, limit in limits.items() if limit is not None)


def tabs(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """For programs."""
    for row in rows:
        console.file.write("\t".join(row) + "\n")


def presets(listed: list[PresetRead]) -> None:
    """One line each."""
    console = Console()
    rows = [(preset.name, preset.algorithm, preset.title) for preset in listed]
    if not console.is_terminal:
        tabs(console, rows)
        return
    table = Table("name", "algorithm", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print("\n`hone presets NAME` shows the fields of one; a spec uses it by `algorithm: {preset: NAME}`.")


def preset(shown: PresetRead) -> None:
    """The preset's fields as YAML, for the beginning of a spec; title, source and notes are comments."""
    console = Console()
    about = [line for text in (shown.title, f"Source: {shown.source}", shown.notes) for line in wrap(text, WIDTH)]
    recipe = [line for position, stage in enumerate(shown.stages, 1) for line in _stage(position, stage)]
    console.file.write(_comment(about) + _yaml(shown.fields) + _comment(recipe))


def _stage(position: int, stage: StageRead) -> list[str]:
    """A job of the recipe."""
    return ["", f"Stage {position}: {stage.title}", *_yaml(stage.fields).splitlines()]


def _comment(lines: list[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)
