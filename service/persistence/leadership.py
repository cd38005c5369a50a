"""Leader election: of several processes the one acts whose session holds an advisory lock of the database."""

import threading
import time
from contextlib import suppress

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from hone.errors import Unavailable
from service.logs import get
from service.persistence.database import with_driver

log = get(__name__)
LOCK = 0x686F6E656C656164  # "honelead"; migrations use another lock. It must not change between versions
HEALTHY = LOCK + 1  # held beside the other one; readiness looks at it
SILENCE_SECONDS = 10.0
ACT_SECONDS = 30.0


def has_healthy_leader(session: Session) -> bool:
    """Whether there is a leader whose last report was healthy."""
    query = """
        SELECT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND objsubid = 1  -- a lock of one number of 64 bits
              AND (classid::bigint << 32) | objid::bigint = :lock
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )
    """
    return bool(session.scalar(text(query), {"lock": HEALTHY}))


class Leadership:
    """Holds the lock in a connection of its own, outside any pool and transaction: it lives as long as the session.

    A process leads only as long as it acts: its main loop says so with each duty, and whoever else asks more than
    ACT_SECONDS after that gives the lock up. A killed process loses the lock at once, because its socket closes. A
    stopped process, or one whose host or network failed, loses it after SILENCE_SECONDS: PostgreSQL (14 or newer) ends
    a session that is idle for so long. A connection pooler must not share sessions between clients.
    """

    def __init__(self, url: str, *, silence_seconds: float = SILENCE_SECONDS, act_seconds: float = ACT_SECONDS) -> None:
        self._silence_seconds, self._act_seconds = silence_seconds, act_seconds
        self._acted_at = time.monotonic()
        self._engine = create_engine(
            with_driver(url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 5, "tcp_user_timeout": 5000, "keepalives_idle": 5},
        )
        self._connection: Connection | None = None
        self._leads = self._healthy = False
        self._asking = threading.Lock()

    def __call__(self, *, acts: bool = False) -> bool:
        """Whether this process leads; to be called before each duty. The call also takes or keeps the lock.

        `acts`: the call comes from the main loop.
        """
        with self._asking:
            if acts:
                self._acted_at = time.monotonic()
            elif time.monotonic() - self._acted_at > self._act_seconds:
                if self._leads:
                    log.error("a duty hangs; another process may lead", seconds=round(self._act_seconds))
                self._release()
                return False
            try:
                return self._ask(self._connection or self._connect())
            except DBAPIError as error:
                self._disconnect()
                message = "cannot ask the database for the leader's lock; try again"
                raise Unavailable(message, detail=error.orig) from error

    def report(self, *, healthy: bool) -> None:
        """Let the others see whether the duties of this process, if it leads, get done."""
        with self._asking:
            if self._connection is None or not self._leads or healthy == self._healthy:
                return
            try:
                function = "pg_advisory_lock" if healthy else "pg_advisory_unlock"
                self._connection.execute(text(f"SELECT {function}(:lock)"), {"lock": HEALTHY})
                self._healthy = healthy
            except DBAPIError:
                self._disconnect()

    def _connect(self) -> Connection:
        self._connection = connection = self._engine.connect()
        connection.execute(text(f"SET idle_session_timeout = {int(self._silence_seconds * 1000)}"))
        return connection

    def _ask(self, connection: Connection) -> bool:
        if self._leads:
            connection.execute(text("SELECT 1"))
        elif connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
            log.info("this process leads")
            self._leads = True
        return self._leads

    def _disconnect(self) -> None:
        """Drop the connection; another process may lead by now."""
        if self._leads:
            log.warning("this process no longer leads: its connection was lost")
        self._leads = self._healthy = False
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Release the lock, so that another process can lead."""
        with self._asking:
            self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        self._leads = self._healthy = False
        if connection is not None:
            # PostgreSQL frees the locks of a closed session only when its process has ended, which takes a moment.
            with suppress(DBAPIError), connection:
                connection.execute(text("SELECT pg_advisory_unlock_all()"))
