"""Which of several processes acts: the one whose session holds an advisory lock of the database."""

import threading

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from service.domain.errors import Unavailable
from service.logs import get
from service.persistence.database import with_driver

log = get(__name__)
LOCK = 0x686F6E656C656164  # "honelead"; migrations take another one. It must not change between versions
SILENCE_SECONDS = 10.0


class Leadership:
    """One connection of its own, outside any pool and any transaction: the lock lives as long as its session.

    A killed process loses it at once, because its socket closes. A stopped one, and one whose host or network is gone,
    loses it after SILENCE_SECONDS: PostgreSQL (14 or newer) ends the session of a leader that has not asked for so
    long. It needs sessions: a pooler between us and PostgreSQL must not share them between clients.
    """

    def __init__(self, url: str, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._silence_seconds = silence_seconds
        self._engine = create_engine(
            with_driver(url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 5, "tcp_user_timeout": 5000, "keepalives_idle": 5},
        )
        self._connection: Connection | None = None
        self._leads = False
        self._asking = threading.Lock()

    def __call__(self) -> bool:
        """Whether this process may act now; to be asked before each act. Asking is what keeps or takes the lead."""
        with self._asking:
            try:
                return self._ask(self._connection or self._connect())
            except DBAPIError as error:
                self._part()
                raise Unavailable(f"who leads cannot be asked; try again ({error.orig})") from error

    def _connect(self) -> Connection:
        self._connection = connection = self._engine.connect()
        connection.execute(text(f"SET idle_session_timeout = {int(self._silence_seconds * 1000)}"))
        return connection

    def _ask(self, connection: Connection) -> bool:
        if self._leads:
            connection.execute(text("SELECT 1"))
        elif connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
            log.info("leads")
            self._leads = True
        return self._leads

    def _part(self) -> None:
        """Whatever was known is stale: somebody else may lead by now."""
        if self._leads:
            log.warning("leads no longer: its connection is gone")
        self._leads = False
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Let another one lead."""
        with self._asking:
            self._leads = False
            if self._connection is not None:
                self._connection.close()
                self._connection = None
