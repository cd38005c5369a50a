"""A tar that is written as it is sent: no temporary file, memory for one piece, and any part of it on its own.

The manifest gives sizes and hashes, so the length is known before, and files are compared as they are sent: where one
differs, the transfer breaks off rather than ends, and nobody takes a torn archive for a whole one.
"""

import errno
import hashlib
import re
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from fastapi.responses import Response, StreamingResponse

from hone.documents import CheckpointFile
from service.storage.store import Storage

SINGLE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True)
class Archive:
    """The files of a storage key, in one folder."""

    storage: Storage
    key: str
    folder: str
    files: list[CheckpointFile]
    modified: float

    @property
    def etag(self) -> str:
        """Of all that determines its bytes."""
        described = repr([self.folder, self.modified, *((file.name, file.bytes, file.sha256) for file in self.files)])
        return f'"{hashlib.sha256(described.encode()).hexdigest()[:32]}"'

    @property
    def size(self) -> int:
        """In bytes."""
        files = sum(len(self._header(file)) + file.bytes + len(_padding(file)) for file in self.files)
        return files + len(END)

    def part(self, start: int, stop: int) -> Iterator[bytes]:
        """Its bytes from `start` to before `stop`. Raises OSError where a file is not what the manifest says."""
        position = 0
        for file in self.files:
            header, padding = self._header(file), _padding(file)
            yield from _cut(header, position, start, stop)
            position += len(header)
            first, last = max(0, start - position), min(file.bytes, stop - position)
            if first < last or (not file.bytes and start <= position < stop):
                yield from self._read(file, first, last)
            position += file.bytes
            yield from _cut(padding, position, start, stop)
            position += len(padding)
        yield from _cut(END, position, start, stop)

    def _header(self, file: CheckpointFile) -> bytes:
        header = tarfile.TarInfo(f"{self.folder}/{file.name}")
        header.size, header.mtime, header.mode = file.bytes, self.modified, 0o644
        return header.tobuf(tarfile.PAX_FORMAT)

    def _read(self, file: CheckpointFile, first: int, last: int) -> Iterator[bytes]:
        """Bytes of a file; the hash is compared where all of them are sent."""
        digest, left = hashlib.sha256(), last - first
        for chunk in self.storage.read(f"{self.key}/{file.name}", first):
            piece = chunk[:left]
            digest.update(piece)
            left -= len(piece)
            if left == 0 and last == file.bytes:
                longer = len(chunk) > len(piece)
                if longer or (first == 0 and digest.hexdigest() != file.sha256):
                    raise _damaged(self.key, file)
            yield piece
            if left == 0:
                return
        if left or (first == 0 and last == file.bytes and digest.hexdigest() != file.sha256):
            raise _damaged(self.key, file)


END = bytes(2 * tarfile.BLOCKSIZE)


def _padding(file: CheckpointFile) -> bytes:
    return bytes(-file.bytes % tarfile.BLOCKSIZE)


def _cut(data: bytes, position: int, start: int, stop: int) -> Iterator[bytes]:
    """The part between `start` and `stop` of data that begins at `position`."""
    piece = data[max(0, start - position) : max(0, stop - position)]
    if piece:
        yield piece


def _damaged(key: str, file: CheckpointFile) -> OSError:
    return OSError(errno.EIO, f"{file.name} of {key} is not what its manifest says")


@dataclass(frozen=True)
class Conditions:
    """The headers of a request that choose what is sent (RFC 9110)."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


def archive_response(
    archive: Archive, conditions: Conditions, sent: Callable[[Iterator[bytes]], AsyncIterator[bytes]]
) -> Response:
    """The answer: all of it, one range, or that nothing has changed."""
    size = archive.size
    headers = {"etag": archive.etag, "accept-ranges": "bytes"}
    if conditions.if_none_match is not None and archive.etag in conditions.if_none_match:
        return Response(status_code=304, headers=headers)
    wanted = _range(conditions.range, size) if conditions.if_range in (None, archive.etag) else None
    start, stop = wanted or (0, size)
    if start >= stop:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size}"})
    headers["content-length"] = str(stop - start)
    headers["content-disposition"] = f'attachment; filename="{archive.folder}.tar"'
    if wanted is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(
        sent(archive.part(start, stop)),
        status_code=200 if wanted is None else 206,
        media_type="application/x-tar",
        headers=headers,
    )


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and stop of a range; None to send everything, as for several ranges, another unit or nonsense."""
    matched = SINGLE_RANGE.fullmatch(header.strip()) if header else None
    if matched is None or matched[0] == "bytes=-":
        return None
    first, last = matched.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
