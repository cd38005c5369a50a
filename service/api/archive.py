"""Streams a tar: no temporary file, and memory for one piece only."""

import tarfile
from collections.abc import Iterator

from hone.documents import CheckpointFile
from service.storage.store import Storage


def tar(storage: Storage, key: str, folder: str, files: list[CheckpointFile], modified: float) -> Iterator[bytes]:
    """The files of a storage key, in one folder; the manifest gives their sizes."""
    for file in files:
        header = tarfile.TarInfo(f"{folder}/{file.name}")
        header.size, header.mtime, header.mode = file.bytes, modified, 0o644
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield from storage.read(f"{key}/{file.name}")
        yield bytes(-file.bytes % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
