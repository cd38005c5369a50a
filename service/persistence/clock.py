"""The database's clock."""

from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, cast, func, select
from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """The database's clock, read anew: hosts disagree about the time, and a transaction can be long."""
    return session.execute(select(reading())).scalar_one()


def reading() -> ColumnElement[datetime]:
    """What `now` reads, as a part of another query."""
    return cast(func.clock_timestamp(), DateTime(timezone=True))
