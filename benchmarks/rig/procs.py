"""What runs on this machine for one service: found by the data directory in its environment."""

import os
from pathlib import Path


def of_service(data_dir: Path, words: str) -> list[int]:
    """Processes whose environment names the data directory and whose command line holds `words`."""
    marker = f"HONE_DATA_DIR={data_dir}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            environment, command = _bytes(entry / "environ"), _bytes(entry / "cmdline")
            if marker in environment + b"\0" and words in command.replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(entry.name))
    return found


def trainers(data_dir: Path) -> list[int]:
    """Those that a service has, of jobs and spare; each leads a process group. Without the process that forks them."""
    return [pid for pid in of_service(data_dir, "-m worker.trainer") if _status(pid)[2:3] == [str(pid)]]


def running(pid: int) -> bool:
    """Whether it is there, and not only waits for its parent to read its status."""
    return _status(pid)[:1] not in ([], ["Z"], ["X"])


def descendants(ancestor: int, words: str) -> list[int]:
    """The processes below another one whose command line holds `words`."""
    parents = {int(entry.name): parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}

    def is_below(pid: int) -> bool:
        while pid not in (0, ancestor):
            pid = parents.get(pid, 0)
        return pid == ancestor

    return [
        pid
        for pid in parents
        if words in _bytes(Path(f"/proc/{pid}/cmdline")).decode(errors="replace") and is_below(pid)
    ]


def parent(pid: int) -> int:
    """0 when it is gone."""
    fields = _status(pid)
    return int(fields[1]) if fields else 0


def ticks(pid: int) -> int:
    """The processor time that it has used; 0 when it is gone."""
    return sum(map(int, _status(pid)[11:13]))


def stopped(pid: int) -> bool:
    """Whether a signal has stopped it."""
    return _status(pid)[:1] == ["T"]


def _status(pid: int) -> list[str]:
    """/proc/PID/stat behind the name: state, parent, ...; nothing when it is gone."""
    return _bytes(Path(f"/proc/{pid}/stat")).decode(errors="replace").rpartition(")")[2].split()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
