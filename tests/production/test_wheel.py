"""The wheel works by itself: in an environment without a checkout, from an empty folder."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement

HELP_SECONDS = 0.6
START_SECONDS = 90


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, as `make wheel` does."""
    assert (root / "service/dashboard/dist/index.html").exists(), "the wheel carries the page: make page"
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(root)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    return next(folder.glob("*.whl"))


class Installed:
    """An environment that has the wheel, and of all other packages those that it is given."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.bin = folder / "bin"
        install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *install], check=True)
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self.empty = folder / "empty"
        self.empty.mkdir()

    def link(self, found: Distribution) -> None:
        """Let it have a package of the environment that the tests run in."""
        tops = {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (self.packages / top).exists():
                (self.packages / top).symlink_to(Path(str(found.locate_file(top))))

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in a folder that is empty."""
        argv = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(argv, cwd=self.empty, env=self.environment(**environment), capture_output=True, text=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of ours that could lead back to the checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HONE_", "PYTHON"))}
        return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | more


def needed(
    found: Distribution, extras: frozenset[str] = frozenset(), seen: dict[str, Distribution] | None = None
) -> list[Distribution]:
    """All that a package needs, as installed here."""
    seen = {} if seen is None else seen
    for requirement in map(Requirement, found.requires or []):
        wanted = [{"extra": extra} for extra in extras or {""}]
        applies = requirement.marker is None or any(requirement.marker.evaluate(each) for each in wanted)
        if applies and requirement.name not in seen:
            seen[requirement.name] = distribution(requirement.name)
            needed(seen[requirement.name], frozenset(requirement.extras), seen)
    return list(seen.values())


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install hone`."""
    made = Installed(tmp_path_factory.mktemp("base") / "venv", wheel)
    (metadata,) = made.packages.glob("hone-*.dist-info")
    for found in needed(Distribution.at(metadata)):
        made.link(found)
    return made


@pytest.fixture(scope="module")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install 'hone[all]'`: every package that the tests themselves use, but not the checkout."""
    made = Installed(tmp_path_factory.mktemp("whole") / "venv", wheel)
    packages = str(Path(str(distribution("fastapi").locate_file(""))))
    (made.packages / "others.pth").write_text(packages + "\n")  # what is on such a path is no editable install
    return made


def test_the_base_install_is_the_client_and_the_command_line_alone(base: Installed) -> None:
    look = "print(sorted({'torch', 'celery', 'sqlalchemy', 'fastapi', 'service', 'worker'} & set(sys.modules)))"
    done = base.run("python", "-c", f"import sys; from hone import ApiError, Client; {look}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    for package in ("torch", "celery", "sqlalchemy", "fastapi"):
        assert base.run("python", "-c", f"import {package}").returncode != 0


def test_help_of_the_base_install_comes_at_once(base: Installed) -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = base.run("hone", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0 and "submit" in done.stdout, done.stderr
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    seconds()  # compiles
    assert min(seconds() for _ in range(3)) < HELP_SECONDS  # of a processor: other processes do not count


def test_the_base_install_says_what_is_missing_and_how_to_get_it(base: Installed) -> None:
    assert "service: not installed (pip install 'hone[service]')" in base.run("hone", "--version").stdout
    for command, extras in {
        ("up",): "service,worker,embedded",
        ("demo",): "service,worker,embedded",
        ("migrate", "--database-url", "postgresql://nowhere/hone"): "service",
        ("create-key", "--owner", "me", "--database-url", "postgresql://nowhere/hone"): "service",
    }.items():
        done = base.run("hone", *command)
        assert done.returncode == 1 and f"pip install 'hone[{extras}]'" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_version_names_service_schema_and_worker(whole: Installed, root: Path) -> None:
    newest = max(path.name[:4] for path in (root / "migrations/versions").glob("0*.py"))
    shown = whole.run("hone", "--version").stdout.splitlines()
    release = shown[0].removeprefix("hone ")
    assert shown[1] == f"service {release}, schema {newest}"
    assert shown[2].startswith(f"worker {release}, torch ")


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may pass, which it needs where the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="hone-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def serving(installed: Installed, data: Path) -> Iterator[tuple[str, str]]:
    """Address and key of a `hone up` of that environment."""
    with (data / "up.log").open("wb") as log:
        command = [str(installed.bin / "hone"), "up", "--data-dir", str(data), "--port", "0"]
        process = subprocess.Popen(command, cwd=installed.empty, env=installed.environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (data / "server.json").exists():
            assert process.poll() is None and time.monotonic() < deadline, (data / "up.log").read_text()
            time.sleep(0.05)
        yield json.loads((data / "server.json").read_text())["url"], (data / "admin.key").read_text().strip()
    finally:
        process.terminate()
        process.wait(60)


def test_up_from_an_empty_folder_migrates_serves_the_page_and_finishes_a_job(
    whole: Installed, base: Installed, data: Path
) -> None:
    spec = {
        "algorithm": {"type": "sft", "batch_size": 4},
        "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
        "steps": 3,
    }
    (base.empty / "job.json").write_text(json.dumps(spec))
    with serving(whole, data) as (url, key):
        page = httpx2.get(url, trust_env=False)
        assert page.status_code == 200 and "/assets/" in page.text
        done = base.run("hone", "submit", "job.json", "--watch", HONE_URL=url, HONE_API_KEY=key)
        assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout + done.stderr
    (base.empty / "job.json").unlink()
    assert not list(whole.empty.iterdir())
