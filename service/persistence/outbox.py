"""Messages that are written in the transaction that they belong to, and sent after its commit by the dispatcher."""

from typing import Any

from sqlalchemy import CTE, delete, func, insert, literal, select
from sqlalchemy.orm import Session

from service.persistence.database import wake
from service.persistence.tables import Outbox

TRAIN = "hone.train"
CHANNEL = "hone:outbox"


def add(session: Session, topic: str, payload: dict[str, Any]) -> None:
    """Have the dispatcher send a message once this transaction has happened."""
    session.add(Outbox(topic=topic, payload=payload))
    wake_dispatcher(session)


def doorbell(job: CTE) -> CTE:
    """The statement that adds the doorbell of a job, as a part of the statement that inserts the job."""
    values = select(literal(TRAIN), func.jsonb_build_object("job_id", job.c.id))
    return insert(Outbox).from_select(["topic", "payload"], values).cte("doorbell")


def wake_dispatcher(session: Session) -> None:
    """Wake the dispatcher."""
    wake(session, CHANNEL)


def oldest(session: Session, limit: int = 1000) -> list[Outbox]:
    """The oldest messages. They are not locked: two dispatchers may send the same, which does no harm."""
    return list(session.scalars(select(Outbox).order_by(Outbox.id).limit(limit)))


def sent(session: Session, messages: list[Outbox]) -> None:
    """Delete messages that the broker has accepted."""
    if messages:
        session.execute(delete(Outbox).where(Outbox.id.in_([message.id for message in messages])))
