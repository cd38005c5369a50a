"""What is received stays on this machine's disk no longer than it must."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from service.api import uploads

DIES = """
import io, os, pathlib, signal, sys
from service.api import uploads
with uploads.received(io.BytesIO(b"rows"), pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in (folder / "uploads").iterdir()]


def test_what_is_refused_goes_and_what_is_stored_stays_where_it_was_put(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), uploads.received(io.BytesIO(b"rows"), tmp_path) as upload:
        assert (upload.size, upload.path.read_bytes()) == (4, b"rows")
        raise ValueError("refused")
    with uploads.received(io.BytesIO(b"rows"), tmp_path) as upload:
        upload.path.rename(tmp_path / "stored")
    assert left(tmp_path) == [] and (tmp_path / "stored").read_bytes() == b"rows"


def test_what_a_killed_process_left_goes_and_what_another_receives_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
    assert left(tmp_path) == [b"rows"]
    with uploads.received(io.BytesIO(b"others"), tmp_path):
        uploads.sweep(tmp_path)
        assert left(tmp_path) == [b"others"]
    uploads.sweep(tmp_path)
    assert left(tmp_path) == []
