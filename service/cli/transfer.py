"""Commands that move files between this machine and the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connect import Data, Key, Url, connect
from service.domain.errors import NotFound

if TYPE_CHECKING:
    from service.client import Client
    from service.schemas import CheckpointRead


Name = Annotated[str, typer.Argument(help="an id (ckpt_...), or JOB@best, JOB@latest, JOB@step-N")]


def pull(
    checkpoint: Name,
    directory: Annotated[Path, typer.Argument(help="a directory that does not exist yet, or is empty")],
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Download a checkpoint, each file checked against its hash. It loads with `AutoModelForCausalLM`."""
    with connect(url, key, data_dir) as client:
        found = client.checkpoints.download(_resolve(client, checkpoint), directory)
    typer.echo(f"{directory}: step {found.step} of {found.job_id}, {len(found.files)} files, {size(found.bytes)}")


def promote(
    checkpoint: Name,
    undo: Annotated[bool, typer.Option("--undo", help="treat it as any other again")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Keep a checkpoint, whatever its job's `keep_last` says."""
    with connect(url, key, data_dir) as client:
        change = client.checkpoints.demote if undo else client.checkpoints.promote
        found = change(_resolve(client, checkpoint))
    typer.echo(f"{found.id}: step {found.step} of {found.job_id}, {'promoted' if found.promoted else 'not promoted'}")


def drop(
    checkpoint: Name,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Delete a checkpoint that nobody needs."""
    with connect(url, key, data_dir) as client:
        found = _resolve(client, checkpoint)
        client.checkpoints.delete(found)
    typer.echo(f"{found} is deleted")


def _resolve(client: "Client", name: str) -> str:
    """The id of the checkpoint that a name means."""
    if name.startswith("ckpt_"):
        return name
    job_id, _, which = name.removeprefix("job:").partition("@")
    found = client.jobs.checkpoints(job_id).data
    chosen = _choose(found, which or "latest")
    if chosen is None:
        there = ", ".join(f"{job_id}@step-{one.step}" for one in found) or "none"
        raise NotFound(f"job {job_id} has no checkpoint {which!r}; it has: {there}")
    return chosen.id


def _choose(found: "list[CheckpointRead]", which: str) -> "CheckpointRead | None":
    """As a spec's `model` is understood: `best` is the latest where none is marked. Newest first."""
    found = [one for one in found if not one.damaged]
    if which == "best":
        return next((one for one in found if one.best), found[0] if found else None)
    return next((one for one in found if which in ("latest", f"step-{one.step}")), None)


def upload(
    file: Annotated[Path, typer.Argument(help="rows as JSON Lines", exists=True, dir_okay=False)],
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Upload rows for training and print their id, which a spec's `source` can name."""
    with connect(url, key, data_dir) as client:
        uploaded = client.files.upload(file)
    typer.echo(f"{uploaded.rows} rows, {size(uploaded.bytes)}, columns {', '.join(uploaded.columns)}", err=True)
    typer.echo(uploaded.id)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
