"""The folder of one attempt, ours while we live: `work/JOB/attempt-N`, with a lock beside it that dies with us."""

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from service import locks, logs
from service.copies import Copy

log = logs.get(__name__)


class Scratch:
    """What an attempt needs of this machine: its folder, and copies that must not go while it runs."""

    def __init__(self, data_dir: Path, job_id: str, attempt: int) -> None:
        self.path = data_dir / "work" / job_id / f"attempt-{attempt}"
        self._lock: locks.Lock | None = None
        self._copies = ExitStack()

    def open(self) -> None:
        """Make the folder, which no other process removes; OSError, e.g. when the disk is full."""
        self._lock = locks.hold(_lock(self.path))
        self.path.mkdir(parents=True, exist_ok=True)

    def keep(self, copy: Copy) -> Path:
        """Use a copy until the attempt is over."""
        return self._copies.enter_context(copy).path

    def close(self) -> None:
        """Remove the folder: what counts is in the storage."""
        self._copies.close()
        if self._lock is not None:
            _remove(self.path, self._lock)


def sweep(data_dir: Path) -> None:
    """Remove what attempts left whose worker was killed. Another worker of this machine holds the locks of its own."""
    for lock_file in (data_dir / "work").glob("*/attempt-*.lock"):
        try:
            lock = locks.hold_now(lock_file)
            if lock is not None:
                log.info("scratch of a dead attempt goes", folder=str(lock_file.with_suffix("")))
                _remove(lock_file.with_suffix(""), lock)
        except OSError as error:
            log.warning("scratch of a dead attempt stays for now", error=str(error))


def _remove(path: Path, lock: locks.Lock) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # a trainer is just dying in it: the next sweep finds the lock file
        lock.release()
        return
    lock.remove()
    with suppress(OSError):
        path.parent.rmdir()


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
