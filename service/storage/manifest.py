"""The manifest of a checkpoint: names, sizes and hashes of its files. Needs no torch."""

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = "manifest.json"
PIECE = 1 << 20  # bytes between two calls of `check`


class Damaged(OSError):
    """A checkpoint differs from what was written; the message names the file."""


def write(directory: Path, step: int) -> None:
    """Write the manifest of the files below a directory."""
    files = [
        {"name": str(file.relative_to(directory)), "bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    ]
    (directory / NAME).write_text(json.dumps({"step": step, "files": files}, indent=1))


def read(path: Path) -> list[dict[str, Any]]:
    """The files that a checkpoint should have; Damaged if its manifest cannot be read."""
    try:
        return list(json.loads((path / NAME).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(errno.EIO, f"checkpoint {path.name} has no readable {NAME}: {error}") from error


def verify(path: Path, files: list[dict[str, Any]] | None = None, check: Callable[[], None] = lambda: None) -> None:
    """Damaged unless every file is as the manifest describes it, and the manifest lists `files`. `check` is called
    between the pieces that are read; it raises in order to cancel.
    """
    described = read(path)
    if files is not None and files != described:
        raise Damaged(errno.EIO, f"checkpoint {path.name} is damaged: its {NAME} is not the one that was recorded")
    sized = [entry for entry in described if not _has_size(path / entry["name"], entry["bytes"])]
    wrong = sized or [entry for entry in described if _hash(path / entry["name"], check) != entry["sha256"]]
    if wrong:
        name = wrong[0]["name"]
        raise Damaged(errno.EIO, f"checkpoint {path.name} is damaged: {name} differs from the manifest")


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _hash(file: Path, check: Callable[[], None]) -> str | None:
    """None if it cannot be read: a bad sector is damage too."""
    try:
        return _sha256(file, check)
    except OSError:
        return None


def _sha256(path: Path, check: Callable[[], None] = lambda: None) -> str:
    digest, piece = hashlib.sha256(), bytearray(PIECE)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            digest.update(memoryview(piece)[:size])
            check()
    return digest.hexdigest()
