"""What an idle service costs: seconds to import the API, and each process's memory, against the limits.

python benchmarks/at_rest.py [RUNS]
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from own_service import running

SETTLE_SECONDS = 15.0
IMPORT_LIMIT_SECONDS = 1.0
LIMITS_MB = {"service.app:create_app": 150, "service.dispatcher": 100, "celery": 150}


def import_seconds(module: str) -> float:
    """A fresh interpreter's time to import a module, its own start subtracted."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def resident_mb(words: str) -> float:
    """The proportional memory of the process below us whose command line holds `words`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and words in _command_line(entry) and os.getpid() in _ancestors(entry):
            lines = (entry / "status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    raise SystemExit(f"no process with {words!r}")


def _command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _ancestors(entry: Path) -> list[int]:
    found = []
    pid = int(entry.name)
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def main() -> None:
    """The table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = statistics.median(import_seconds("service.app") for _ in range(runs))
    print(f"{'import service.app':28} {seconds:7.2f} s   {seconds / IMPORT_LIMIT_SECONDS:5.2f} x the limit")
    with running():
        time.sleep(SETTLE_SECONDS)
        for words, limit in LIMITS_MB.items():
            found = resident_mb(words)
            print(f"{words:28} {found:7.0f} MB  {found / limit:5.2f} x the limit of {limit} MB")


if __name__ == "__main__":
    main()
