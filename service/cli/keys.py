"""Commands about API keys."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.connect import Data, Key, Url, connect
from service.cli.operator import DatabaseUrl, reach
from service.datadir import write_private

Most = Annotated[int | None, typer.Option(min=1, help="of the jobs submitted with it; default: no limit")]


def create_key(
    database_url: DatabaseUrl,
    owner: Annotated[str, typer.Option(help="whose jobs and files it sees")],
    role: Annotated[Literal["admin", "member", "viewer"], typer.Option(help="what it may do")] = "member",
    max_running: Most = None,
    max_queued: Most = None,
    max_gpus: Annotated[int | None, typer.Option(min=0, help="that its running jobs hold; default: no limit")] = None,
    file: Annotated[Path | None, typer.Option(help="write the secret here, readable by you alone")] = None,
) -> None:
    """Make an API key and show its secret, this once."""
    from service import commands
    from service.domain.keys import Limits

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
    """List API keys without their secrets. Needs an admin's key."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        show.keys(client.keys.list(limit=100).data)


def revoke_key(
    key_id: Annotated[str, typer.Argument(help="a key's id, as `hone keys` shows it")],
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Let an API key work no more; its jobs go on. Needs an admin's key."""
    with connect(url, key, data_dir) as client:
        client.keys.revoke(key_id)
    typer.echo(f"{key_id} is revoked")
