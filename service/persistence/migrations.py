"""Migrates a database to the newest schema, or to another one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text

import service
from hone.errors import Invalid
from service.persistence.database import with_driver


def scripts() -> Path:
    """The folder of the migration scripts: `migrations/` of a checkout, or the copy in the wheel."""
    packaged = Path(service.__file__).parent / "migrations"
    return packaged if packaged.is_dir() else packaged.parents[1] / "migrations"


def config(database_url: str) -> Config:
    """Alembic's configuration for a database."""
    settings = Config()
    settings.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    settings.attributes["database_url"] = with_driver(database_url)
    return settings


def newest() -> str:
    """The revision that this version of the service works with."""
    return str(ScriptDirectory(str(scripts())).get_current_head())


def upgrade(database_url: str) -> None:
    """Apply the migrations that are missing. Invalid if a newer version of Hone has migrated the database."""
    migrate(database_url, "head")


def migrate(database_url: str, revision: str) -> str:
    """Migrate to a revision, or to `head`, and return it. A downgrade loses data that only newer schemas have.

    Invalid if there is no such revision, or if the database has one that only a newer version of Hone knows.
    """
    settings = config(database_url)
    directory = ScriptDirectory.from_config(settings)
    order = [script.revision for script in reversed(list(directory.walk_revisions()))]
    try:
        script = directory.get_revision(revision)
    except (CommandError, RevisionError):
        script = None
    if script is None:
        raise Invalid(f"there is no schema revision {revision}; the revisions are {', '.join(order)}", param="to")
    now = current(database_url)
    if now is not None and now not in order:
        raise Invalid(
            f"the database has schema revision {now}, and this version of Hone knows none newer than {order[-1]}: a "
            f"newer version has migrated it. Use that version, or let it migrate back (hone migrate --to {order[-1]})"
        )
    if now is not None and order.index(script.revision) < order.index(now):
        command.downgrade(settings, script.revision)
    else:
        command.upgrade(settings, script.revision)
    return script.revision


def current(database_url: str) -> str | None:
    """The revision of a database; None before the first migration."""
    engine = create_engine(with_driver(database_url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if revision is None else str(revision)
    finally:
        engine.dispose()
