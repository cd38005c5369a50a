"""The connection to PostgreSQL, and the one place that commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from hone.errors import Unavailable, Unstorable
from service.failpoints import failpoint

__all__ = [
    "STALL_SECONDS",
    "AfterCommit",
    "Database",
    "Session",
    "wake",
    "wake_nobody",
    "with_driver",
]  # Session: SQLAlchemy is named here only
WAKE = "wake"
STALL_SECONDS = 20.0  # for which a stopped process may keep rows locked: its jobs should run again within 45 s
NETWORK = {
    "connect_timeout": 5,
    # a network that is silently dead must not hold a thread for the two hours that TCP would
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
AfterCommit = Callable[[set[str]], None]
"""Called after a commit with the channels to wake."""


def wake_nobody(channels: set[str]) -> None:
    """For processes that send no wake-ups."""


def wake(session: Session, channel: str) -> None:
    """Send a wake-up to `channel` once this transaction is committed."""
    session.info.setdefault(WAKE, set()).add(channel)


class Database:
    """A pool of connections. `after_commit` is called after each commit with the channels that it wakes.

    `stall_seconds` bounds how long a transaction of a stopped process keeps its rows locked.
    """

    def __init__(
        self,
        url: str,
        *,
        after_commit: AfterCommit = wake_nobody,
        pool_size: int = 5,
        stall_seconds: float | None = None,
    ) -> None:
        self.url = with_driver(url)
        self._after_commit = after_commit
        self._engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=10,
            pool_pre_ping=True,  # a restarted server costs one ping, not one failed request
            connect_args=NETWORK,
        )
        if stall_seconds is not None:
            _limit_stalls(self._engine, stall_seconds)

    def session(self) -> Session:
        """A session that has not begun: it holds no connection."""
        return Session(self._engine, expire_on_commit=False)

    @contextmanager
    def transaction(self, session: Session | None = None) -> Iterator[Session]:
        """A transaction that commits at the end of the block, or rolls back.

        Unavailable if no server answers; Unstorable for a value that no column can hold.
        """
        try:
            with session or self.session() as session:
                yield session
                session.commit()
        except PoolTimeout as error:
            raise Unavailable("all connections to the database are in use; try again", code="overloaded") from error
        except (DataError, UnicodeEncodeError) as error:
            raise Unstorable(str(getattr(error, "orig", error))) from error
        except DBAPIError as error:
            broken = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
            if not broken:
                raise
            raise Unavailable("the database is not available at the moment; try again", detail=error.orig) from error
        channels: set[str] = session.info.get(WAKE, set())
        if channels:
            failpoint("commit.unpublished")
            self._after_commit(channels)

    def answers(self) -> bool:
        """Whether the server answers a query."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _limit_stalls(engine: Engine, seconds: float) -> None:
    """Let PostgreSQL end a session that is idle in a transaction for so long."""

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(seconds * 1000)}")
        connection.commit()

    @event.listens_for(engine, "after_cursor_execute")
    def start_the_clock(
        connection: Connection,
        _cursor: object,
        _statement: str,
        _parameters: object,
        _context: object,
        many: bool,  # noqa: FBT001 - as SQLAlchemy calls it
    ) -> None:
        """For many rows psycopg ends with a Flush, at which PostgreSQL stops its clock until the next statement."""
        if many:
            connection.exec_driver_sql("SELECT 1")


def with_driver(url: str) -> str:
    """The URL with psycopg 3 as its driver; hosting panels write `postgres://` or `postgresql://`."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgres", "postgresql") else url
