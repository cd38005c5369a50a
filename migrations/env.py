"""How Alembic connects: to the URL that the caller hands over, or to DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

from service.persistence.database import with_driver
from service.persistence.tables import Base

ADVISORY_LOCK = 0x686F6E65  # 'hone': two hosts that start at once migrate one after the other


def run() -> None:
    """Apply the migrations in one transaction, one process at a time."""
    url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
    engine = create_engine(with_driver(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            context.run_migrations()


run()
