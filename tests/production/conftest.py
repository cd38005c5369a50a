"""The compose files, and environments like those of the images."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from composefiles import HOSTS, MAIN, ROOT, SECRETS, URLS, WORKER, Compose, Refused
from installs import Installed
from stacks import Stack, started


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> Compose:
    """One host with everything."""
    return Compose(MAIN, needs=SECRETS)


@pytest.fixture(scope="session")
def published() -> Compose:
    """The same for workers on other hosts."""
    return Compose(MAIN, HOSTS, needs=SECRETS | {"HONE_SERVERS_BIND": "10.0.0.1"})


@pytest.fixture(scope="session")
def workers() -> Compose:
    """Another host, with workers."""
    return Compose(WORKER, needs=URLS)


@pytest.fixture(scope="session")
def refused() -> type[Exception]:
    """What reading a file raises where Compose would not start."""
    return Refused


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, as `make wheel` does."""
    assert (root / "service/dashboard/dist/index.html").exists(), "the wheel carries the page: make page"
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(root)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install hone`."""
    made = Installed(tmp_path_factory.mktemp("base") / "venv", wheel)
    made.link_needed(frozenset())
    return made


@pytest.fixture(scope="session")
def control(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What the image of the API and the dispatcher has: no torch."""
    made = Installed(tmp_path_factory.mktemp("control") / "venv", wheel)
    made.link_needed(frozenset({"service", "s3"}))
    return made


@pytest.fixture(scope="session")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install 'hone[all]'`: every package that the tests themselves use, but not the checkout."""
    made = Installed(tmp_path_factory.mktemp("whole") / "venv", wheel)
    packages = str(Path(str(distribution("fastapi").locate_file(""))))
    (made.packages / "others.pth").write_text(packages + "\n")  # what is on such a path is no editable install
    made.make_commands(distribution("celery"))
    return made


@pytest.fixture(scope="session")
def images(control: Installed, whole: Installed) -> dict[str, Installed]:
    """What stands for each."""
    return {"control": control, "worker": whole}


@pytest.fixture(scope="session")
def stack(compose: Compose, images: dict[str, Installed]) -> Iterator[Stack]:
    """Both servers run; who starts another service stops it."""
    with started(compose, images) as made:
        yield made
