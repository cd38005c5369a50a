"""`hone demo`: everything on this machine, through HTTP only: SFT of a tiny model, then GRPO and PPO from it."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import yaml
from rich.console import Console
from rich.table import Table

from hone.cli.live import follow
from hone.cli.page_build import PageBuild
from hone.client import Client
from hone.datadir import DataDir, default
from hone.documents import JobRead
from hone.documents.status import JobStatus
from service.local.embedded.accounts import first_closed, unprivileged
from service.local.embedded.places import prepare
from service.local.processes import Program, RunningProgram
from service.local.up import ROOT

PACKAGED = Path(__file__).parent / "demo_specs"  # in the wheel; a checkout has them in examples/demo
SPECS = PACKAGED if PACKAGED.is_dir() else ROOT / "examples" / "demo"
SCORE = "eval/accuracy"
START_SECONDS = 180.0
SLOWEST_STOP = 120.0  # seconds; the parts of `hone up` are stopped one after the other


@dataclass(frozen=True)
class StageResult:
    """One row of the printed table."""

    stage: str
    accuracy: float | None
    job: JobRead | None = None


def demo(data_dir: Path | None, port: int, page_builder: str | None = None) -> int:
    """Run the demo and print its result; returns the exit status. On a terminal it then serves until Ctrl-C.

    `page_builder` is a command that builds the page beside the training.
    """
    console = Console()
    data = DataDir((data_dir or folder()).absolute())
    try:
        with (
            _handling(_interrupt, signal.SIGINT, signal.SIGTERM),
            _service(data, port) as up,
            Client(_address(data, up), data.secret() or "") as client,
        ):
            console.print(f"Hone serves {client.url}; its data is in {data.root}")
            with PageBuild(page_builder, data.root / "logs", console) as page:
                rows = _train(client, console)
                succeeded = _print_result(rows, console)
                if page.running():
                    console.print("The page is not finished yet.")
                if console.is_terminal:
                    _serve(client, up, page, console)
                else:
                    page.wait()
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped. Run it again to start afresh with the same data.")
        return 130
    return 0 if succeeded else 1


def folder() -> Path:
    """`.hone-demo` in the current folder, or the usual data directory if the database's user cannot reach it."""
    account, inside = unprivileged(), Path.cwd() / ".hone-demo"
    return default() if account and first_closed(inside.parent, account) else inside


@contextmanager
def _service(data: DataDir, port: int) -> Iterator[RunningProgram]:
    """A `hone up` as a child process, stopped in order however the block ends."""
    prepare(data.root, unprivileged())
    logs = data.root / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    argv = (sys.executable, "-m", "hone.cli", "up", "--data-dir", str(data.root), "--port", str(port))
    program = Program("up", argv, directory=ROOT, grace=SLOWEST_STOP, death_signal=signal.SIGTERM)
    child = RunningProgram(program, logs)
    try:
        yield child
    finally:
        with _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):  # it is stopping already
            child.stop()


def _address(data: DataDir, up: RunningProgram) -> str:
    deadline = time.monotonic() + START_SECONDS
    while True:
        server = data.server()
        if server and server.pid == up.pid:
            return server.url
        if up.exit_code() is not None or time.monotonic() > deadline:
            raise up.failure()
        time.sleep(0.05)


def _train(client: Client, console: Console) -> list[StageResult]:
    """Queue all three, each before its parent has ended, and follow them to their ends."""
    sft = client.jobs.submit(_spec("sft"))
    grpo, ppo = (client.jobs.submit(_spec(name, sft.id)) for name in ("grpo", "ppo"))
    console.print(f"Queued: SFT {sft.id}, GRPO {grpo.id} and PPO {ppo.id}, the latter two after the first.")
    ended = {stage: follow(client, job.id, console) for stage, job in (("SFT", sft), ("GRPO", grpo), ("PPO", ppo))}
    untrained = StageResult("untrained", _scores(client, sft.id).get(0))
    return [untrained, *(StageResult(stage, _last(_scores(client, job.id)), job) for stage, job in ended.items())]


def _spec(name: str, parent: str | None = None) -> dict[str, object]:
    document: dict[str, object] = yaml.safe_load((SPECS / f"{name}.yaml").read_text())
    if parent:
        document |= {"model": str(document["model"]).replace("{sft}", parent), "depends_on": [parent]}
    return document


def _scores(client: Client, job_id: str) -> dict[int, float]:
    """Held-out accuracy by step."""
    series = client.jobs.metrics(job_id, SCORE).series
    return {
        step: value for line in series for step, value in zip(line.steps, line.values, strict=True) if value is not None
    }


def _last(scores: dict[int, float]) -> float | None:
    return scores[max(scores)] if scores else None


def _print_result(rows: list[StageResult], console: Console) -> bool:
    """Print the result as a table; return whether all jobs succeeded and both RL stages beat SFT."""
    table = Table("stage", "held-out greedy accuracy", "steps", "wall time", "status")
    for row in rows:
        accuracy = "-" if row.accuracy is None else f"{row.accuracy:.1%}"
        table.add_row(row.stage, accuracy, *_facts(row.job))
    console.print(table)
    _, sft, *better = rows
    succeeded = all(row.job is None or row.job.status == JobStatus.SUCCEEDED for row in rows)
    raised = sft.accuracy is not None and all(
        row.accuracy is not None and row.accuracy > sft.accuracy for row in better
    )
    if succeeded and not raised:
        console.print("Reinforcement learning did not raise the accuracy over SFT.")
    return succeeded and raised


def _facts(job: JobRead | None) -> tuple[str, str, str]:
    if job is None:
        return "0", "-", "-"
    seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0
    return str(job.progress.step), f"{seconds:.0f} s", job.status


def _serve(client: Client, up: RunningProgram, page: PageBuild, console: Console) -> None:
    """Serve until Ctrl-C, so that the user can look at the result; say when there is a page to look at."""
    console.print(f"The dashboard: {client.login_link()}\nCtrl-C stops everything.", soft_wrap=True)
    try:
        while up.exit_code() is None:
            page.running()
            time.sleep(0.2)
    except KeyboardInterrupt:
        console.print("Stopping.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers, *numbers: int) -> Iterator[None]:
    """Have signals handled so while the block runs."""
    previous = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, before in previous:
            signal.signal(number, before)
