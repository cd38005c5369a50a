"""Refusals: one line on standard error and exit status 1, without a traceback."""

import sys
from typing import Any

import typer

from hone.errors import HoneError


class Cli(typer.Typer):
    """The command line. It turns refusals into one line and exit status 1."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; refusals and errors of the operating system become one line."""
        try:
            return super().__call__(*args, **kwargs)
        except HoneError as error:
            refuse(f"{error.param}: {error.message}" if _adds(error) else error.message)
        except OSError as error:
            refuse(str(error))


def refuse(message: str) -> None:
    """Print the message to standard error, and exit with status 1."""
    typer.secho(f"hone: {message}", err=True, fg="red")
    sys.exit(1)


def _adds(error: HoneError) -> bool:
    """Whether the name of the field is missing in the message."""
    return error.param is not None and error.param not in error.message and not error.code.endswith("not_found")
