"""Signs of life for health checks: a file whose age tells how long its process has not done its work."""

from contextlib import suppress
from pathlib import Path


def beat(data_dir: Path, name: str) -> None:
    """Touch `NAME.beat`. A full disk stops nothing: the file grows old, and the check says so."""
    with suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / f"{name}.beat").touch()
