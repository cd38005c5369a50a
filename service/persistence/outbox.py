"""Messages that exist because their transaction happened."""

from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from service.persistence.database import wake
from service.persistence.tables import Outbox

TRAIN = "hone.train"
CHANNEL = "hone:outbox"


def add(session: Session, topic: str, payload: dict[str, Any]) -> None:
    """Have the dispatcher send a message once this transaction has happened."""
    session.execute(insert(Outbox).values(topic=topic, payload=payload))
    wake(session, CHANNEL)


def take(session: Session, limit: int = 1000) -> list[Outbox]:
    """The oldest messages, locked; another dispatcher sees the others."""
    return list(session.scalars(select(Outbox).order_by(Outbox.id).limit(limit).with_for_update(skip_locked=True)))


def sent(session: Session, messages: list[Outbox]) -> None:
    """Forget messages that the broker has taken."""
    if messages:
        session.execute(delete(Outbox).where(Outbox.id.in_([message.id for message in messages])))
