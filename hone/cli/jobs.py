"""Commands about jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hone.cli.connect import Data, Key, Url, connect
from hone.errors import Invalid

if TYPE_CHECKING:
    from hone.client import Client

JobId = Annotated[str, typer.Argument(help="a job's id")]


def submit(
    file: Annotated[Path, typer.Argument(help="a spec in YAML or JSON", exists=True, dir_okay=False)],
    follow: Annotated[bool, typer.Option("--watch", help="follow the job until it ends")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Queue a job and print its id. A file of rows that the spec names (`source: ./rows.jsonl`) is uploaded first."""
    with connect(url, key, data_dir) as client:
        job = client.jobs.submit(_with_uploads(client, read_spec(file), file.parent))
        typer.echo(job.id)
        if follow:
            _follow(client, job.id)


def _with_uploads(client: "Client", spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The spec with each path of a JSONL file, relative to the spec's folder, replaced by the id of its upload."""
    ids: dict[str, str] = {}
    for field in ("dataset", "eval_dataset"):
        data = spec.get(field)
        source = str(data.get("source")) if isinstance(data, dict) else ""
        if isinstance(data, dict) and source.endswith(".jsonl"):
            if source not in ids:
                ids[source] = client.files.upload(_existing(folder / source, field)).id
            spec = spec | {field: data | {"source": ids[source]}}
    return spec


def _existing(path: Path, field: str) -> Path:
    if not path.is_file():
        raise Invalid(
            f"{field}.source: there is no file {path}; paths are relative to the spec", param=f"{field}.source"
        )
    return path


def read_spec(file: Path) -> dict[str, Any]:
    """The document in a YAML or JSON file (JSON is YAML); the service validates it as a spec."""
    from hone.cli.documents import parse

    try:
        text = file.read_text()
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is neither YAML nor JSON: {error}") from None
    document = parse(text, str(file))
    if not isinstance(document, dict):
        raise Invalid(f"{file} holds {document!r:.80}, not a spec: see `examples/`")
    return document


def jobs(
    status: Annotated[str | None, typer.Option(help="only jobs with this status, e.g. running")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="largest number of jobs")] = 20,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List jobs, newest first."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        page = client.jobs.list(status=status, limit=limit)
    show.jobs(page.data)
    if page.has_more:
        typer.echo("There are more jobs: --limit shows up to 100.", err=True)


def show(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Show a job: status, progress, metrics, models, checkpoints, spec."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        loaded = client.jobs.events(job_id, kind=["loaded"]).data
        show.job(client.jobs.get(job_id), client.jobs.checkpoints(job_id).data, loaded)


def watch(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Follow a job until it ends. The exit status is 0 if it succeeded."""
    with connect(url, key, data_dir) as client:
        _follow(client, job_id)


def _follow(client: "Client", job_id: str) -> None:
    from hone.cli.live import follow

    job = follow(client, job_id)
    if job.status != "succeeded":
        raise typer.Exit(1)


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="continue until the job ends")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Print the log of a job."""
    with connect(url, key, data_dir) as client:
        for line in _lines(client, job_id, follow):
            typer.echo(line)


def _lines(client: "Client", job_id: str, follow: bool) -> Iterator[str]:
    if follow:
        yield from (event.data["line"] for event in client.jobs.stream(job_id) if event.kind == "log")
        return
    after = 0
    while True:
        page = client.jobs.logs(job_id, after=after)
        yield from (event.data["line"] for event in page.data)
        if not page.has_more:
            return
        after = page.data[-1].seq


def presets(
    name: Annotated[str | None, typer.Argument(help="show the fields of this preset as YAML, and their source")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List presets (the settings of papers and other trainers), or show one."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        if name is None:
            show.presets(client.presets().data)
        else:
            show.preset(client.preset(name))
