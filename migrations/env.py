"""How Alembic connects: to the URL that the caller hands over, or to DATABASE_URL."""

import os
import time

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import OperationalError

from service.persistence.database import with_driver
from service.persistence.tables import Base

ADVISORY_LOCK = 0x686F6E65  # 'hone': two hosts that start at once migrate one after the other
LOCK_SECONDS, TRIES, PAUSE_SECONDS = 2, 20, 3.0
"""A migration that waits for a table makes everybody wait behind it: it gives up soon, lets them pass, tries again."""
BUSY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected


def run() -> None:
    """Apply the migrations in one transaction, one process at a time."""
    url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
    engine = create_engine(with_driver(url), poolclass=pool.NullPool)
    for left in reversed(range(TRIES)):
        try:
            with engine.connect() as connection:
                migrate(connection)
            return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in BUSY or not left:
                raise
            time.sleep(PAUSE_SECONDS)


def migrate(connection: Connection) -> None:
    """All or nothing. Waiting for another process that migrates may take long, waiting for tables may not."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        context.run_migrations()


run()
