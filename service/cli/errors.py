"""A refusal is one line on standard error and exit status 1, never a traceback."""

import sys
from typing import Any

import typer

from service.domain.errors import HoneError


class Refusing(typer.Typer):
    """The command with all its subcommands, which says what went wrong."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run what the arguments say; refusals and the system's errors become one line."""
        try:
            return super().__call__(*args, **kwargs)
        except HoneError as error:
            refuse(f"{error.param}: {error.message}" if _adds(error) else error.message)
        except OSError as error:
            refuse(str(error))


def refuse(message: str) -> None:
    """Say why, and exit with status 1."""
    typer.secho(f"hone: {message}", err=True, fg="red")
    sys.exit(1)


def _adds(error: HoneError) -> bool:
    """Whether the field's name tells something that the sentence does not."""
    return error.param is not None and error.param not in error.message and not error.code.endswith("not_found")
