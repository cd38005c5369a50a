import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.embedded import servers


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that the servers' user can pass to, which `tmp_path` is not when we are root."""
    made = Path(tempfile.mkdtemp(prefix="hone-test-", dir="/tmp"))
    if os.geteuid() == 0:
        made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def initialised(folder: Path) -> Path:
    """A data directory whose servers ran once."""
    with servers(folder / "initialised"):
        return folder / "initialised"


@pytest.fixture
def data_dir(initialised: Path, folder: Path) -> Iterator[Path]:
    """A copy of it for one test: making a cluster takes longer than copying one."""
    subprocess.run(["cp", "-a", initialised, folder / "data"], check=True)
    yield folder / "data"
    shutil.rmtree(folder / "data")


@pytest.fixture
def new_dir(folder: Path) -> Iterator[Path]:
    """A data directory that does not exist yet."""
    yield folder / "new"
    shutil.rmtree(folder / "new", ignore_errors=True)
