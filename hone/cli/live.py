"""Follows a job: a progress bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hone.cli import models
from hone.client import Client
from hone.documents import EventRead, JobRead

COLOURS = {"succeeded": "green", "failed": "red", "running": "cyan", "cancelling": "yellow", "cancelled": "yellow"}
LEVELS = {"warning": "yellow", "critical": "red"}
SHOWN = {"eval/accuracy": "accuracy", "train/loss": "loss", "policy/reward": "reward", "policy/kl": "kl"}
PLAIN_SECONDS = 5.0  # between two lines about steps


def status(word: str) -> str:
    """A status in its colour."""
    return f"[{COLOURS[word]}]{word}[/]" if word in COLOURS else word


def number(value: float | None) -> str:
    """A metric with four digits."""
    return "not finite" if value is None else f"{value:.4g}"


def short(value: float | None) -> str:
    """A metric for a line that is read in passing: no exponents, and what is left of rounding in float32 is 0."""
    if value is None or abs(value) >= 1e9:
        return number(value)
    if abs(value) < 1e-6:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.6f}"
    return number(value) if abs(value) < 1e4 else f"{value:,.0f}"


class View(AbstractContextManager["View"], Protocol):
    """What shows the events of a job."""

    def step(self, step: int, metrics: dict[str, float | None]) -> None:
        """A step has ended, or its weights were evaluated."""

    def phase(self, phase: str) -> None:
        """The job is in another phase."""

    def note(self, line: str) -> None:
        """Any other event, as a line in rich's markup."""


def follow(client: Client, job_id: str, console: Console | None = None) -> JobRead:
    """Show a job until it has ended; returns the ended job."""
    console = console or Console()
    job = client.jobs.get(job_id)
    with _view(console, job) as view:
        show(client.jobs.stream(job_id), view)
    job = client.jobs.get(job_id)
    _print_end(console, job)
    return job


def show(events: Iterable[EventRead], view: View) -> None:
    """Pass each event to the method of the view that shows it."""
    for event in events:
        data = event.data
        match event.kind:
            case "metrics":
                view.step(data["step"], data["metrics"])
            case "status" if "phase" in data:
                view.phase(data["phase"])
            case "status":
                view.note(_status_line(data))
            case "log":
                view.note(f"[{LEVELS.get(data.get('level', ''), 'dim')}]{escape(data['line'])}[/]")
            case "loaded":
                view.note(f"[dim]{escape(models.sentence(data))}[/]")
            case "checkpoint":
                view.note(f"checkpoint at step {event.step}")
            case "sample" | "preview" | "note":
                continue  # too long for a terminal, where the page shows them; a note is a line of the log, too


def _status_line(data: dict[str, Any]) -> str:
    details = [data.get("reason"), (data.get("failure") or {}).get("message")]
    return ": ".join([status(data["status"]), *(escape(str(detail)) for detail in details if detail)])


def _print_end(console: Console, job: JobRead) -> None:
    seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0
    console.print(f"{job.id} {status(job.status)} after {job.progress.step} steps, {seconds:.0f} s", highlight=False)
    if job.failure and job.failure.hint:
        console.print(escape(job.failure.hint))


def _view(console: Console, job: JobRead) -> View:
    title = job.name or job.algorithm
    return Bar(console, title, job.progress.total_steps) if console.is_terminal else Lines(console, title)


def _summary(metrics: dict[str, float | None]) -> str:
    return "  ".join(f"{word} {short(metrics[name])}" for name, word in SHOWN.items() if name in metrics)


class Bar:
    """A bar with steps, time and the last metrics; notes scroll above it."""

    def __init__(self, console: Console, title: str, total: int | None) -> None:
        texts = (TextColumn("{task.description}"), TextColumn("{task.fields[summary]}"))
        columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
        self._progress = Progress(texts[0], *columns, texts[1], console=console)
        self._task = self._progress.add_task(escape(title), total=total, summary="waiting")
        self._metrics: dict[str, float | None] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, step: int, metrics: dict[str, float | None]) -> None:
        """Move the bar; metrics that this step does not have stay visible."""
        self._metrics |= metrics
        self._progress.update(self._task, completed=step, summary=_summary(self._metrics))

    def phase(self, phase: str) -> None:
        """Show the phase until there are metrics."""
        if not self._metrics:
            self._progress.update(self._task, summary=phase)

    def note(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line, highlight=False)


class Lines:
    """Plain lines, for steps at most one in PLAIN_SECONDS."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def step(self, step: int, metrics: dict[str, float | None]) -> None:
        """A line for each evaluation, and for a step now and then."""
        if "eval/accuracy" in metrics or time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            self.note(f"step {step}  {_summary(metrics)}")

    def phase(self, phase: str) -> None:
        """No line: phases change too often."""

    def note(self, line: str) -> None:
        """A line with the job's name in front."""
        self._console.print(f"{escape(self._title)}: {line}", highlight=False, soft_wrap=True)
