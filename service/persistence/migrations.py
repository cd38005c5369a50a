"""Bringing a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from service.persistence.database import with_driver


def config(database_url: str) -> Config:
    """Alembic's configuration for a database; the scripts are in `migrations/` at the top."""
    made = Config(toml_file=str(Path(__file__).parents[2] / "pyproject.toml"))
    made.attributes["database_url"] = with_driver(database_url)
    return made


def upgrade(database_url: str) -> None:
    """Apply what is missing; a database that is up to date is left alone."""
    command.upgrade(config(database_url), "head")
