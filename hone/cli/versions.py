"""Versions of the command line, the service and the worker."""

from collections.abc import Iterator
from importlib.metadata import version

from hone import __version__
from hone.cli.extras import installed


def lines() -> Iterator[str]:
    """One line each for the command line, the service with its schema, and the worker with its libraries."""
    yield f"hone {__version__}"
    if installed("service"):
        from service.persistence.migrations import newest

        yield f"service {__version__}, schema {newest()}"
    else:
        yield "service: not installed (pip install 'hone[service]')"
    if installed("worker"):
        yield f"worker {__version__}, torch {version('torch')}, transformers {version('transformers')}"
    else:
        yield "worker: not installed (pip install 'hone[worker]')"
