"""How a command finds the service: --url and --key, their environment variables, or a `hone up` on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.datadir import DataDir, default
from service.domain.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from service.client import Client

Url = Annotated[
    str | None, typer.Option("--url", envvar="HONE_URL", help="the service; default: the one on --data-dir")
]
Key = Annotated[
    str | None, typer.Option("--key", envvar="HONE_API_KEY", help="an API key; default: the admin's of --data-dir")
]
Data = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="HONE_DATA_DIR", help="the data directory of a `hone up` on this machine"),
]


def connect(url: str | None, key: str | None, data_dir: Path | None) -> "Client":
    """A client of the named service. A key of this machine is only sent to the service of this machine."""
    from service.client import Client

    data = DataDir(data_dir or default())
    running = data.running()
    if url is None and running is None:
        raise Unavailable(
            f"no service runs on {data.root}: start one with `hone up`, or name one with --url or HONE_URL"
        )
    here = running.url if running else None
    if key is None and url in (None, here):
        key = data.secret()
    if key is None:
        raise Unauthorized("no API key: give --key or set HONE_API_KEY")
    return Client(url or here or "", key)
