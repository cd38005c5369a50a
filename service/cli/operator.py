"""Commands for whoever runs the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connect import Data, Key, Url, connect
from service.datadir import DataDir, default
from service.domain.errors import HoneError, Invalid, Unavailable

if TYPE_CHECKING:
    from service.persistence.database import Database

Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")]
DatabaseUrl = Annotated[str, typer.Option("--database-url", envvar="DATABASE_URL", help="PostgreSQL")]


def up(
    data_dir: Data = None,
    host: Annotated[str, typer.Option(help="who may connect; 0.0.0.0: every machine")] = "127.0.0.1",
    port: Port = 8000,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="whether to run jobs here")] = True,
) -> None:
    """Serve: database, broker, API, dispatcher and one worker, until Ctrl-C.

    DATABASE_URL, REDIS_URL and STORAGE_URL select servers of your own instead of the embedded ones.
    """
    from service.up import Options, up

    up(Options(data_dir or default(), host, port, worker, say=_say, ready=_ready))


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
        return  # the terminal was closed; the service goes on or is being stopped


def demo(
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="default: .hone-demo in the checkout")] = None,
    port: Port = 0,
) -> None:
    """Train a tiny model on this machine: SFT, then GRPO and PPO from it, through HTTP only."""
    from service.demo import demo

    raise typer.Exit(demo(data_dir, port))


def login(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Print a link that opens the page logged in, once."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.login_link())


def migrate(
    database_url: DatabaseUrl,
    to: Annotated[str, typer.Option(help="a schema, e.g. 0001; an older one loses what only newer ones hold")] = "head",
) -> None:
    """Bring the database to the newest schema, or to another one."""
    from service.persistence.migrations import migrate

    reach(database_url).close()
    reached = migrate(database_url, to)
    typer.echo("The database has the newest schema." if to == "head" else f"The database has the schema {reached}.")


def reach(url: str) -> "Database":
    """A database that answers, or a refusal that names what to look at."""
    from service.persistence.database import Database

    if not url.startswith("postgres"):
        raise Invalid(f"{url!r} is not postgresql://USER:PASSWORD@HOST/NAME", param="DATABASE_URL")
    database = Database(url)
    if not database.answers():
        host = url.rpartition("@")[2]  # without the password
        raise Unavailable(f"no PostgreSQL answers at {host}: is DATABASE_URL right, and does the server run?")
    return database
