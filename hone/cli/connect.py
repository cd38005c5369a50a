"""How a command finds the service: --url and --key, their environment variables, or a `hone up` on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hone.datadir import DataDir, default
from hone.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from hone.client import Client

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="HONE_URL", help="URL of the service; default: the `hone up` of --data-dir"),
]
Key = Annotated[
    str | None, typer.Option("--key", envvar="HONE_API_KEY", help="an API key; default: the admin key of --data-dir")
]
Data = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="HONE_DATA_DIR", help="the data directory of a `hone up` on this machine"),
]


def connect(url: str | None, key: str | None, data_dir: Path | None) -> "Client":
    """A client of the named service. The admin key of a data directory is only sent to the service that uses it."""
    from hone.client import Client

    data = DataDir(data_dir or default())
    server = data.server()
    if url is None and server is None:
        raise Unavailable(
            f"no service runs on {data.root}: start one with `hone up`, or name one with --url or HONE_URL"
        )
    local_url = server.url if server else None
    if key is None and url in (None, local_url):
        key = data.secret()
    if key is None:
        raise Unauthorized("no API key: give --key or set HONE_API_KEY")
    return Client(url or local_url or "", key)
