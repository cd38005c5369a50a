"""Commands that back up and restore a data directory."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hone.cli.connect import Data
from hone.cli.extras import require
from hone.datadir import DataDir, default
from hone.errors import Invalid


def backup(
    target: Annotated[Path, typer.Argument(help="target folder, which must not exist")], data_dir: Data = None
) -> None:
    """Copy all jobs, files and checkpoints of a data directory into a folder. Its service may run."""
    require("backup", "service", "embedded")
    from service.local.backup import backup

    data = DataDir((data_dir or default()).absolute())
    backup(data, _storage(data), target, _say)
    typer.echo(target)


def restore(
    source: Annotated[Path, typer.Argument(help="folder that `hone backup` made")], data_dir: Data = None
) -> None:
    """Make a new data directory from a backup; `hone up` then continues from it."""
    require("restore", "service", "embedded")
    from service.local.backup import restore

    restore(source, DataDir((data_dir or default()).absolute()), _say)


def _storage(data: DataDir) -> Path:
    url = os.environ.get("STORAGE_URL") or str(data.storage)
    if "://" in url:
        raise Invalid(
            "STORAGE_URL is not a directory: back up rows and storage with their own tools, see docs/operating.md",
            param="STORAGE_URL",
        )
    return Path(url)


def _say(line: str) -> None:
    typer.echo(line, err=True)
