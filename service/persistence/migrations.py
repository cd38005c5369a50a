"""Bringing a database to the newest schema, or to another one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text

from service.domain.errors import Invalid
from service.persistence.database import with_driver


def config(database_url: str) -> Config:
    """Alembic's configuration for a database; the scripts are in `migrations/` at the top."""
    made = Config(toml_file=str(Path(__file__).parents[2] / "pyproject.toml"))
    made.attributes["database_url"] = with_driver(database_url)
    return made


def upgrade(database_url: str) -> None:
    """Apply what is missing; a database that is up to date is left alone."""
    command.upgrade(config(database_url), "head")


def migrate(database_url: str, revision: str) -> str:
    """To a revision, or `head`, forwards or back; the one where the database is then. Back loses what is new there."""
    made = config(database_url)
    scripts = ScriptDirectory.from_config(made)
    order = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    try:
        script = scripts.get_revision(revision)
    except (CommandError, RevisionError):
        script = None
    if script is None:
        raise Invalid(f"there is no schema {revision}; there are {', '.join(order)}", param="to")
    now = current(database_url)
    if now is not None and now in order and order.index(script.revision) < order.index(now):
        command.downgrade(made, script.revision)
    else:
        command.upgrade(made, script.revision)
    return script.revision


def current(database_url: str) -> str | None:
    """The revision of a database; none before the first."""
    engine = create_engine(with_driver(database_url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if found is None else str(found)
    finally:
        engine.dispose()
