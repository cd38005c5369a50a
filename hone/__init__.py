"""What users of a Hone service import: `from hone import Client`.

It needs none of the service or the worker: `pip install hone` brings the client and the command line alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hone.client import ApiError, Client

__version__ = "0.1.0"
__all__ = ["ApiError", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first used: `hone --help` runs without it."""
    if name in ("ApiError", "Client"):
        from hone import client

        return getattr(client, name)
    raise AttributeError(f"module 'hone' has no attribute {name!r}")
