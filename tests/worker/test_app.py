"""The worker's process, before it looks for jobs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
SERVERS = {"DATABASE_URL": "postgresql://127.0.0.1:1/hone", "REDIS_URL": "redis://127.0.0.1:1"}


@pytest.mark.parametrize(
    "storage",
    [
        "/dev/null",
        "/dev/null/storage",
        pytest.param("/", marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")),
    ],
)
def test_a_worker_whose_storage_cannot_be_written_does_not_start(tmp_path: Path, storage: str) -> None:
    environment = os.environ | SERVERS | {"STORAGE_URL": storage, "HONE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and f"hone: cannot start\n  STORAGE_URL={storage}: " in done.stderr
    assert "Traceback" not in done.stderr
