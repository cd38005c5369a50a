"""Commands that change a job."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hone.cli.connect import Data, Key, Url, connect
from hone.cli.jobs import JobId, read_spec
from hone.errors import Invalid


def cancel(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Stop a job within a step. Its last checkpoint stays."""
    with connect(url, key, data_dir) as client:
        typer.echo(f"{job_id} is {client.jobs.cancel(job_id).status}")


def pause(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Pause a job: it ends its step, saves and frees its device. A queued job is held back."""
    with connect(url, key, data_dir) as client:
        typer.echo(f"{job_id} is {client.jobs.pause(job_id).status}")


def resume(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Let a paused job continue where it was."""
    with connect(url, key, data_dir) as client:
        typer.echo(f"{job_id} is {client.jobs.resume(job_id).status}")


def retry(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Make a new job that continues from the last checkpoint of a failed or cancelled one; print its id."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.jobs.retry(job_id).id)


def extend(
    job_id: JobId,
    steps: Annotated[int | None, typer.Option(min=1, help="further steps")] = None,
    epochs: Annotated[float | None, typer.Option(help="further passes over the rows")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Make a new job that continues where a finished one has ended; print its id."""
    if (steps is None) == (epochs is None):
        raise Invalid("give --steps or --epochs: one of them says how much longer the job trains")
    with connect(url, key, data_dir) as client:
        typer.echo(client.jobs.extend(job_id, steps=steps, epochs=epochs).id)


def clone(
    job_id: JobId,
    changes: Annotated[
        Path | None, typer.Option("--with", help="fields to change, in YAML or JSON; null removes one", exists=True)
    ] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Make a new job of the same spec, from the start; print its id."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.jobs.clone(job_id, read_spec(changes) if changes else None).id)


def set_(
    job_id: JobId,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="higher runs first")] = None,
    name: Annotated[str | None, typer.Option(help="a name for people to read")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; replaces all tags; may be repeated")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Change a job's priority, name or tags."""
    changes: dict[str, Any] = {"priority": priority, "name": name, "tags": _tags(tag) if tag else None}
    given = {field: value for field, value in changes.items() if value is not None}
    if not given:
        raise Invalid("nothing to change: give --priority, --name or --tag")
    with connect(url, key, data_dir) as client:
        client.jobs.change(job_id, **given)
        typer.echo(f"{job_id} has {', '.join(f'{field} {value}' for field, value in given.items())}")


def delete(job_id: JobId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Delete an ended job with its metrics, samples and checkpoints."""
    with connect(url, key, data_dir) as client:
        client.jobs.delete(job_id)
        typer.echo(f"{job_id} is deleted")


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = dict(tag.partition("=")[::2] for tag in pairs if "=" in tag)
    if len(tags) != len(pairs):
        raise Invalid(f"--tag {next(tag for tag in pairs if '=' not in tag)!r} is not NAME=VALUE", param="tags")
    return tags
