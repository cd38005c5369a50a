"""The migrations make exactly the tables that the code describes, and can be taken back."""

import io

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text

from service.embedded import Servers
from service.persistence.database import with_driver
from service.persistence.migrations import config, upgrade


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
