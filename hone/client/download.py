"""Downloads the files of a checkpoint: all of them, each with the hash in the manifest, or none."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from hone.documents import CheckpointFile
from hone.errors import Conflict, Invalid

Content = Callable[[str], AbstractContextManager[Iterator[bytes]]]


def download(files: list[CheckpointFile], content: Content, directory: Path) -> None:
    """Write into a temporary folder and rename it to `directory`; Conflict if that exists and is not empty."""
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict(f"{directory} exists and is not an empty directory: choose another", param="directory")
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        for file in files:
            _fetch(file, content, partial)
        partial.rename(directory)
    except BaseException:  # also on Ctrl-C
        shutil.rmtree(partial)
        raise


def _fetch(file: CheckpointFile, content: Content, folder: Path) -> None:
    name = PurePosixPath(file.name)
    if name.is_absolute() or ".." in name.parts or str(name) != file.name:
        raise Invalid(f"the checkpoint names a file {file.name!r}, which is not a plain name: nothing was written")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with (folder / name).open("xb") as target, content(file.name) as pieces:
        for piece in pieces:
            digest.update(piece)
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise Invalid(f"{file.name} arrived with SHA-256 {digest.hexdigest()} instead of {file.sha256}; try again")
