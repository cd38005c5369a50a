"""The folders that the embedded servers use."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hone.errors import Invalid
from service.local.embedded.accounts import first_closed, unprivileged
from service.local.processes import Account

PREFIX = "hone-"
SHORT = Path("/tmp")  # the path of a Unix socket may have 103 bytes on macOS and 107 on Linux


@dataclass(frozen=True)
class Places:
    """Where the servers keep things, and as whom they run (None: as we do)."""

    data: Path
    sockets: Path
    account: Account | None

    @property
    def logs(self) -> Path:
        """One file for each program."""
        return self.data / "logs"

    @property
    def copies(self) -> Path:
        """Server binaries, where the installed ones cannot be reached."""
        return self.data / "servers"


@contextmanager
def places(data: Path) -> Iterator[Places]:
    """A data directory that the servers can reach, and a short-lived private folder for their sockets."""
    account = unprivileged()
    prepare(data, account)
    link = data / "sockets"
    _remove_stale(link)
    sockets = Path(tempfile.mkdtemp(prefix=PREFIX, dir=SHORT))  # 0700
    link.symlink_to(sockets)
    try:
        if account is not None:
            os.chown(sockets, account.uid, account.gid)
        yield Places(data.resolve(), sockets, account)
    finally:
        link.unlink(missing_ok=True)
        shutil.rmtree(sockets, ignore_errors=True)


def _remove_stale(link: Path) -> None:
    """Remove the folder of sockets that a killed process left."""
    if link.is_symlink():
        left = link.readlink()
        if left.parent == SHORT and left.name.startswith(PREFIX):
            shutil.rmtree(left, ignore_errors=True)
        link.unlink()


def prepare(data: Path, account: Account | None) -> None:
    """Make the data directory if it is missing; Invalid if a file is there, or the servers' user cannot pass to it.

    Directories that exist keep their mode, whatever it is.
    """
    if account is not None:
        _refuse_closed(data, account)
    if not data.is_dir():
        try:
            data.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            file = next(place for place in (data, *data.parents) if place.exists())
            message = f"data directory {data}: {file} is a file; choose another --data-dir, or move the file"
            raise Invalid(message) from None
        data.chmod(0o700 if account is None else 0o711)  # others may pass, to what is theirs, and not look around
    if account is not None:
        _refuse_closed(data, account)


def _refuse_closed(data: Path, account: Account) -> None:
    closed = first_closed(data.resolve(), account)
    if closed is not None:
        raise Invalid(
            f"data directory {data}: PostgreSQL cannot run as root, and the user {account.name!r}, as whom it runs "
            f"instead, may not pass {closed}; choose a directory that every user can pass to, for example "
            "--data-dir /var/lib/hone, or run as another user than root"
        )
