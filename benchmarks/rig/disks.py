"""File systems of one's own, which may be full."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """A file system of that size; skips the test where it may not be made."""
    folder = Path(f"/var/tmp/hone-disk-{size}-{os.getpid()}")
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], check=False)
    try:
        if mounted.returncode:
            pytest.skip("a file system of one's own needs root")
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def fill(path: Path) -> None:
    """Write a file until nothing more can be written."""
    with path.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
