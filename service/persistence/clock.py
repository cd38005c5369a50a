"""The database's clock."""

from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, cast, func, select
from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """The current time by the database's clock: clocks of hosts differ, and a transaction may have begun long ago."""
    return session.execute(select(now_expression())).scalar_one()


def now_expression() -> ColumnElement[datetime]:
    """The same as an expression for another query."""
    return cast(func.clock_timestamp(), DateTime(timezone=True))
