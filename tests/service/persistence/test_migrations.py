"""The migrations make exactly the tables that the code describes, and can be taken back."""

import io
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine, inspect, text

from hone.documents.status import JobStatus
from hone.errors import Invalid
from service.local.embedded import Servers
from service.persistence.database import with_driver
from service.persistence.migrations import config, current, migrate, upgrade

BEFORE_PAUSES = {"paused": "queued", "pausing": "running"}
"""What a status becomes where the schema does not know it."""


@pytest.fixture
def empty(embedded: Servers) -> str:
    """The URL of a fresh database."""
    engine = create_engine(with_driver(embedded.database_url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS migrated"))
        connection.execute(text("CREATE DATABASE migrated"))
    engine.dispose()
    return embedded.database_url.replace("/hone?", "/migrated?")


def test_the_migrations_make_what_the_tables_say(empty: str) -> None:
    upgrade(empty)
    command.check(config(empty))


def test_the_migrations_can_be_taken_back(empty: str) -> None:
    upgrade(empty)
    command.downgrade(config(empty), "base")
    engine = create_engine(with_driver(empty))
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_a_second_upgrade_changes_nothing(empty: str) -> None:
    upgrade(empty)
    upgrade(empty)
    shown = io.StringIO()
    configuration = config(empty)
    configuration.stdout = shown
    command.current(configuration)
    assert "(head)" in shown.getvalue()


@pytest.fixture
def engine(empty: str) -> Iterator[Engine]:
    opened = create_engine(with_driver(empty))
    yield opened
    opened.dispose()


def steps() -> list[tuple[str, str]]:
    """Each schema with the one before it."""
    scripts = ScriptDirectory.from_config(config("postgresql://nobody/nothing"))
    order = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    return list(pairwise(order))


def reflected(connection: Connection) -> MetaData:
    """The tables as the schema has them: what the code that was made for it knows."""
    metadata = MetaData()
    metadata.reflect(connection, resolve_fks=True)
    metadata.remove(metadata.tables["alembic_version"])
    return metadata


def fill(connection: Connection, tables: MetaData, mark: str, statuses: list[str]) -> None:
    """Rows in every table, jobs in every status, with a value wherever the schema asks for one."""
    for table in tables.sorted_tables:
        for n in range(len(statuses)):
            row = {column.name: value(column, table.name, mark, n) for column in table.columns if wanted(column)}
            connection.execute(table.insert().values(row | ({"status": statuses[n]} if table.name == "jobs" else {})))


def wanted(column: Any) -> bool:
    return not column.nullable and column.server_default is None and column.identity is None


def value(column: Any, table: str, mark: str, n: int) -> Any:
    """Of the column's type; the same for a row and for those that refer to it."""
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return value(key.column, key.column.table.name, mark, n)
    kind = str(column.type)
    if kind in ("BIGINT", "INTEGER", "DOUBLE PRECISION"):
        return n
    values = {"TEXT": f"{table}-{mark}-{n}", "BOOLEAN": True, "JSONB": {"n": n}, "TEXT[]": [mark], "ARRAY": [mark]}
    return values.get(kind, "2026-01-01T00:00:00Z")


def rows(connection: Connection, tables: MetaData) -> dict[str, list[str]]:
    """All that is in the tables, as far as the schema knows them; statuses as it knows them."""
    by_table = {}
    for table in tables.sorted_tables:
        read = [dict(row) for row in connection.execute(table.select()).mappings()]
        if table.name == "jobs":
            read = [row | {"status": BEFORE_PAUSES.get(row["status"], row["status"])} for row in read]
        by_table[table.name] = sorted(map(str, read))
    return by_table


@pytest.mark.parametrize(("old", "new"), steps())
def test_a_migration_loses_no_row_and_can_be_taken_back(empty: str, engine: Engine, old: str, new: str) -> None:
    migrate(empty, old)
    with engine.begin() as connection:
        before = reflected(connection)
        fill(connection, before, "old", ["queued", "running", "cancelling", "succeeded", "failed", "cancelled"])
        before_upgrade = rows(connection, before)
    migrate(empty, new)
    with engine.begin() as connection:
        assert rows(connection, before) == before_upgrade
        fill(connection, reflected(connection), "new", [*JobStatus])
        more = rows(connection, before)
    migrate(empty, old)
    with engine.begin() as connection:
        assert rows(connection, before) == more
    assert migrate(empty, "head") == current(empty)
    with engine.begin() as connection:
        assert rows(connection, before) == more


@pytest.mark.parametrize(("old", "new"), steps())
def test_the_code_of_the_schema_before_can_still_write_and_read(empty: str, engine: Engine, old: str, new: str) -> None:
    migrate(empty, old)
    with engine.begin() as connection:
        before = reflected(connection)
    migrate(empty, new)
    with engine.begin() as connection:
        fill(connection, before, "old", ["queued", "running", "succeeded"])
        assert all(len(found) == 3 for found in rows(connection, before).values())


def test_a_schema_that_does_not_exist_is_refused_with_those_that_do(empty: str) -> None:
    with pytest.raises(Invalid, match="there is no schema revision 9999; the revisions are 0001, 0002"):
        migrate(empty, "9999")


@pytest.mark.parametrize("to", ["head", "0001"])
def test_a_database_that_a_newer_version_migrated_is_left_alone(empty: str, engine: Engine, to: str) -> None:
    upgrade(empty)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    with pytest.raises(Invalid, match=r"revision 0099, .* knows none newer than 00\d\d: a newer version has"):
        migrate(empty, to)
    with pytest.raises(Invalid, match="0099"):
        upgrade(empty)
    assert current(empty) == "0099"


def test_a_migration_lets_the_service_pass_while_it_waits_for_a_table(empty: str, engine: Engine) -> None:
    old, new = steps()[0]
    migrate(empty, old)
    waiting = threading.Thread(target=migrate, args=(empty, new))
    with engine.begin() as busy:
        busy.execute(text("SELECT count(*) FROM jobs"))  # a transaction that reads holds a lock that ALTER needs
        waiting.start()
        wait_until_locked(engine)
        with engine.begin() as other:  # would wait for the migration, which waits for `busy`, which waits for us
            other.execute(text("SELECT count(*) FROM jobs"))
    waiting.join(60)
    assert current(empty) == new


def wait_until_locked(engine: Engine) -> None:
    deadline = time.monotonic() + 60
    with engine.connect() as connection:
        while not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
