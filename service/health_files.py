"""Files for health checks: the age of a file tells how long ago its process last did its work."""

from contextlib import suppress
from pathlib import Path


def touch(data_dir: Path, name: str) -> None:
    """Touch `NAME.beat`. A full disk stops nothing: the file grows old, and the health check fails."""
    with suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / f"{name}.beat").touch()
