"""Commands that move files between this machine and the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hone.cli.connect import Data, Key, Url, connect
from hone.errors import NotFound

if TYPE_CHECKING:
    from hone.client import Client
    from hone.documents import CheckpointRead


Name = Annotated[str, typer.Argument(help="an id (ckpt_...), or JOB@best, JOB@latest, JOB@step-N")]


def pull(
    checkpoint: Name,
    directory: Annotated[Path, typer.Argument(help="target directory, new or empty")],
    everything: Annotated[bool, typer.Option("--all", help="also the state of the training")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Download a checkpoint and verify its hashes. It loads with `AutoModelForCausalLM`."""
    with connect(url, key, data_dir) as client:
        pulled = client.checkpoints.download(_resolve(client, checkpoint), directory, everything=everything)
    count = sum(1 for path in directory.rglob("*") if path.is_file())
    pulled_bytes = size(pulled.bytes if everything else pulled.export_bytes)
    typer.echo(f"{directory}: step {pulled.step} of {pulled.job_id}, {count} files, {pulled_bytes}")


def promote(
    checkpoint: Name,
    undo: Annotated[bool, typer.Option("--undo", help="undo the promotion")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Retain a checkpoint, whatever `keep_last` of its job says."""
    with connect(url, key, data_dir) as client:
        change = client.checkpoints.demote if undo else client.checkpoints.promote
        changed = change(_resolve(client, checkpoint))
    status = "promoted" if changed.promoted else "not promoted"
    typer.echo(f"{changed.id}: step {changed.step} of {changed.job_id}, {status}")


def drop(
    checkpoint: Name,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Delete a checkpoint, unless it is promoted or an unfinished job needs it."""
    with connect(url, key, data_dir) as client:
        checkpoint_id = _resolve(client, checkpoint)
        client.checkpoints.delete(checkpoint_id)
    typer.echo(f"{checkpoint_id} is deleted")


def _resolve(client: "Client", name: str) -> str:
    """The id of the checkpoint that a name means."""
    if name.startswith("ckpt_"):
        return name
    job_id, _, which = name.removeprefix("job:").partition("@")
    checkpoints = client.jobs.checkpoints(job_id).data
    chosen = _choose(checkpoints, which or "latest")
    if chosen is None:
        names = ", ".join(f"{job_id}@step-{row.step}" for row in checkpoints) or "none"
        raise NotFound(f"job {job_id} has no checkpoint {which!r}; it has: {names}")
    return chosen.id


def _choose(checkpoints: "list[CheckpointRead]", which: str) -> "CheckpointRead | None":
    """The checkpoint that `model` of a spec means: `best` is the newest one if none is marked as best."""
    checkpoints = [row for row in checkpoints if not row.damaged]
    if which == "best":
        return next((row for row in checkpoints if row.best), checkpoints[0] if checkpoints else None)
    return next((row for row in checkpoints if which in ("latest", f"step-{row.step}")), None)


def upload(
    file: Annotated[Path, typer.Argument(help="rows as JSON Lines", exists=True, dir_okay=False)],
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Upload rows and print their id, which `source` in a spec can name."""
    with connect(url, key, data_dir) as client:
        uploaded = client.files.upload(file)
    typer.echo(f"{uploaded.rows} rows, {size(uploaded.bytes)}, columns {', '.join(uploaded.columns)}", err=True)
    typer.echo(f"read as {' and '.join(uploaded.shapes) or 'no known shape'}", err=True)
    for note in uploaded.notes:
        typer.echo(note, err=True)
    typer.echo(uploaded.id)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
