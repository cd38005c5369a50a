"""Commands about jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connect import Data, Key, Url, connect
from service.domain.errors import Invalid

if TYPE_CHECKING:
    from service.client import Client

JobId = Annotated[str, typer.Argument(help="a job's id")]


def submit(
    file: Annotated[Path, typer.Argument(help="a spec in YAML or JSON", exists=True, dir_okay=False)],
    follow: Annotated[bool, typer.Option("--watch", help="show its progress until it ends")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Queue a job and print its id. Rows in a file that the spec names (`source: ./rows.jsonl`) are uploaded first."""
    with connect(url, key, data_dir) as client:
        job = client.jobs.submit(_with_uploads(client, read_spec(file), file.parent))
        typer.echo(job.id)
        if follow:
            _watch(client, job.id)


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
    """The document in a YAML or JSON file (JSON is YAML); the service says whether it is a good spec."""
    import yaml

    try:
        document = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Invalid(f"{file} holds {document!r:.80}, not a spec: see `examples/`")
    return document


def jobs(
    status: Annotated[
        str | None, typer.Option(help="only these: queued, running, paused, succeeded, failed, cancelled")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="how many, newest first")] = 20,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List jobs, newest first."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        found = client.jobs.list(status=status, limit=limit)
    show.jobs(found.data)
    if found.has_more:
        typer.echo("There are more: --limit shows up to 100.", err=True)


def show(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Show a job: status, progress, metrics, checkpoints, spec."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        show.job(client.jobs.get(job_id), client.jobs.checkpoints(job_id).data)


def watch(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Follow a job live until it ends; exit status 0 if it succeeded."""
    with connect(url, key, data_dir) as client:
        _watch(client, job_id)


def _watch(client: "Client", job_id: str) -> None:
    from service.live import watch

    job = watch(client, job_id)
    if job.status != "succeeded":
        raise typer.Exit(1)


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the job ends")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Print what a job's trainer printed."""
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
    name: Annotated[str | None, typer.Argument(help="show this one's fields as YAML, and their source")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List presets, or show one: what papers and other trainers do, as fields of a spec."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        if name is None:
            show.presets(client.presets().data)
        else:
            show.preset(client.preset(name))
