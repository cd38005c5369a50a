"""The folder of one attempt: `work/JOB/attempt-N`. The lock beside it is released when this process dies."""

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from service import logs
from service.storage import locks
from service.storage.copies import Copy

log = logs.get(__name__)


class Scratch:
    """The files of an attempt on this machine: its folder, and pinned copies, which are not evicted while it runs."""

    def __init__(self, data_dir: Path, job_id: str, attempt: int) -> None:
        self.path = data_dir / "work" / job_id / f"attempt-{attempt}"
        self._lock: locks.Lock | None = None
        self._copies = ExitStack()

    def open(self) -> None:
        """Make the folder and lock it; OSError, e.g. if the disk is full."""
        self._lock = locks.hold(_lock(self.path))
        self.path.mkdir(parents=True, exist_ok=True)

    def pin(self, copy: Copy) -> Path:
        """Hold a pinned copy until the attempt is over; its path."""
        return self._copies.enter_context(copy).path

    def close(self) -> None:
        """Release the copies and remove the folder; checkpoints are in the storage."""
        self._copies.close()
        if self._lock is not None:
            _remove(self.path, self._lock)


def sweep(data_dir: Path) -> None:
    """Remove the folders of attempts whose worker was killed; those of living workers are locked."""
    for lock_file in (data_dir / "work").glob("*/attempt-*.lock"):
        try:
            lock = locks.try_hold(lock_file)
            if lock is not None:
                log.info("removing the scratch folder of a dead attempt", folder=str(lock_file.with_suffix("")))
                _remove(lock_file.with_suffix(""), lock)
        except OSError as error:
            log.warning("the scratch folder of a dead attempt could not be removed", error=str(error))


def _remove(path: Path, lock: locks.Lock) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # a dying trainer still writes: the next sweep finds the lock file
        lock.release()
        return
    lock.remove()
    with suppress(OSError):
        path.parent.rmdir()


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
