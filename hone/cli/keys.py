"""Commands about API keys."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hone.cli.connect import Data, Key, Url, connect
from hone.cli.extras import require
from hone.cli.operator import DatabaseUrl, reach
from hone.datadir import write_private

Limit = Annotated[int | None, typer.Option(min=1, help="limit for the jobs submitted with it; default: none")]


def create_key(
    database_url: DatabaseUrl,
    owner: Annotated[str, typer.Option(help="owner whose jobs and files the key can see")],
    role: Annotated[Literal["admin", "member", "viewer"], typer.Option(help="what the key may do")] = "member",
    max_running: Limit = None,
    max_queued: Limit = None,
    max_gpus: Annotated[
        int | None, typer.Option(min=0, help="limit of the GPUs that its running jobs hold; default: none")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="write the secret to this file, readable only by you")] = None,
) -> None:
    """Create an API key and print its secret, which cannot be shown again."""
    require("create-key", "service")
    from hone.documents.limits import Limits
    from service import commands

    limits = Limits(max_running=max_running, max_queued=max_queued, max_gpus=max_gpus)
    database = reach(database_url)
    with database.transaction() as session:
        _, secret = commands.create_key(session, owner, role, limits)
    database.close()
    if file is None:
        typer.echo(secret)
    else:
        write_private(file, f"{secret}\n")


def keys(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """List API keys without their secrets. Needs the role admin."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        show.keys(client.keys.list(limit=100).data)


def revoke_key(
    key_id: Annotated[str, typer.Argument(help="a key's id, as `hone keys` shows it")],
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Revoke an API key; its jobs continue. Needs the role admin."""
    with connect(url, key, data_dir) as client:
        client.keys.revoke(key_id)
    typer.echo(f"{key_id} is revoked")
