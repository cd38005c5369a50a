"""Commands that back a data directory up, and restore it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from service.cli.connect import Data
from service.datadir import DataDir, default
from service.domain.errors import Invalid


def backup(
    target: Annotated[Path, typer.Argument(help="a folder that does not exist yet")], data_dir: Data = None
) -> None:
    """Write all jobs, files and checkpoints of a data directory into a folder, while its service runs or not."""
    from service.backup import backup

    data = DataDir((data_dir or default()).absolute())
    backup(data, _storage(data), target, _say)
    typer.echo(target)


def restore(
    source: Annotated[Path, typer.Argument(help="a folder that `hone backup` wrote")], data_dir: Data = None
) -> None:
    """Make a new data directory from a backup; then `hone up` goes on where it was."""
    from service.backup import restore

    restore(source, DataDir((data_dir or default()).absolute()), _say)


def _storage(data: DataDir) -> Path:
    url = os.environ.get("STORAGE_URL") or str(data.storage)
    if "://" in url:
        raise Invalid(
            "STORAGE_URL names no directory: back up rows and storage with their own tools, see the README",
            param="STORAGE_URL",
        )
    return Path(url)


def _say(line: str) -> None:
    typer.echo(line, err=True)
