"""Commands for operators."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hone.cli.connect import Data, Key, Url, connect
from hone.cli.extras import require
from hone.datadir import DataDir, default
from hone.errors import HoneError, Invalid, Unavailable

if TYPE_CHECKING:
    from service.persistence.database import Database

Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")]
DatabaseUrl = Annotated[
    str, typer.Option("--database-url", envvar="DATABASE_URL", help="URL of the PostgreSQL database")
]


def up(
    data_dir: Data = None,
    host: Annotated[
        str, typer.Option(help="address to listen on; 0.0.0.0: reachable from other machines")
    ] = "127.0.0.1",
    port: Port = 8000,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="run a worker here")] = True,
) -> None:
    """Serve: database, broker, API, dispatcher and one worker, until Ctrl-C.

    DATABASE_URL, REDIS_URL and STORAGE_URL name servers of your own instead of the embedded ones.
    """
    embedded = [] if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL") else ["embedded"]
    require("up", "service", *(["worker"] if worker else []), *embedded)
    from service.local.up import Options, up

    up(Options(data_dir or default(), host, port, worker, echo=_say, ready=_ready))


def _ready(url: str, data: DataDir) -> None:
    _say(f"Hone serves {url}")
    _say(f"  data    {data.root}")
    _say(f"  key     {data.admin_key}")
    _say(f"  log in  {_link(url, data)}")
    _say("Ctrl-C stops everything.")


def _link(url: str, data: DataDir) -> str:
    try:
        with connect(url, data.secret(), data.root) as client:
            return f"{client.login_link()}  (once, within 15 minutes; `hone login` makes another)"
    except HoneError as error:
        return f"not with the key in {data.admin_key}: {error.message}"


def _say(line: str) -> None:
    try:
        typer.echo(line)
    except OSError:
        return  # the terminal was closed; the service continues or is being stopped


def demo(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="default: .hone-demo in the current folder")
    ] = None,
    port: Port = 0,
    page_builder: Annotated[
        str | None, typer.Option(help="a command that builds the page beside the training, e.g. 'make page'")
    ] = None,
) -> None:
    """Train a tiny model on this machine: SFT, then GRPO and PPO from it, through HTTP only."""
    require("demo", "service", "worker", "embedded")
    from hone.cli.demo import demo

    raise typer.Exit(demo(data_dir, port, page_builder))


def login(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Print a link that opens the page logged in; it works once."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.login_link())


def migrate(
    database_url: DatabaseUrl,
    to: Annotated[
        str, typer.Option(help="schema revision, e.g. 0001; an older schema loses data that only newer ones can store")
    ] = "head",
) -> None:
    """Migrate the database to the newest schema, or to another one."""
    require("migrate", "service")
    from service.persistence.migrations import migrate

    reach(database_url).close()
    reached = migrate(database_url, to)
    typer.echo("The database has the newest schema." if to == "head" else f"The database has the schema {reached}.")


def reach(url: str) -> "Database":
    """A connection to the database; Unavailable, with what to check, if it does not answer."""
    from service.persistence.database import Database

    if not url.startswith("postgres"):
        raise Invalid(f"{url!r} is not postgresql://USER:PASSWORD@HOST/NAME", param="DATABASE_URL")
    database = Database(url)
    if not database.answers():
        host = url.rpartition("@")[2]  # without the password
        raise Unavailable(f"no PostgreSQL answers at {host}: is DATABASE_URL right, and does the server run?")
    return database
