"""Deliveries: messages to webhooks. A move of a job writes them; later each is claimed, sent, and its outcome recorded.

The dispatcher sends them (`service/dispatcher/webhook_sender.py`).
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from hone.documents.webhook_events import LOGGED_ATTEMPTS, WebhookEvent
from hone.errors import NotFound
from service.domain import ids
from service.domain.webhooks import GIVEN_UP_AFTER, TEST, is_accepted, retry_delay
from service.persistence.database import wake
from service.persistence.tables import Delivery, Job, Webhook

CHANNEL = "hone:webhooks"
CLAIM_SECONDS = 30.0  # well above what one attempt may take: then its sender is gone, and another one tries
GONE = 410


def announce(session: Session, job: Job, event: WebhookEvent | None) -> None:
    """Have an event of a job sent to its owner's webhooks once this transaction has happened."""
    if event is None:
        return
    wanted = select(Webhook).where(Webhook.owner == job.owner, Webhook.enabled, Webhook.events.contains([event]))
    recipients = session.scalars(wanted.with_for_update(read=True, key_share=True)).all()  # none is removed meanwhile
    if recipients:
        payload = _payload(session, event, job.id)
        for webhook in recipients:
            _enqueue(session, webhook, payload, job.id)


def add_test(session: Session, webhook: Webhook) -> Delivery:
    """Have a message of the type `webhook.test` sent once this transaction has happened."""
    return _enqueue(session, webhook, _payload(session, TEST, webhook.id), None)


def _payload(session: Session, event: str, subject_id: str) -> dict[str, Any]:
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    stamp = int(now.timestamp())
    return {"id": ids.new("evt_"), "object": "event", "created_at": stamp, "type": event, "data": {"id": subject_id}}


def _enqueue(session: Session, webhook: Webhook, payload: dict[str, Any], job_id: str | None) -> Delivery:
    delivery = Delivery(
        id=ids.new("msg_"), webhook_id=webhook.id, type=payload["type"], job_id=job_id, payload=payload, attempts=0
    )
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    wake(session, CHANNEL)
    return delivery


def page(session: Session, webhook_id: str, after: str | None, limit: int) -> list[Delivery]:
    """A webhook's deliveries, newest first; `after` is the last one already seen."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
    return list(session.scalars(query if after is None else query.where(Delivery.id < after)))


def get(session: Session, webhook_id: str, delivery_id: str, *, lock: bool = False) -> Delivery:
    """One of a webhook's deliveries, or NotFound."""
    row = session.get(Delivery, delivery_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.webhook_id != webhook_id:
        raise NotFound(f"no delivery {delivery_id}", param="delivery_id", code="delivery_not_found")
    return row


def send_again(session: Session, row: Delivery) -> None:
    """Send a delivery once more, under the same id."""
    row.next_at = session.execute(select(func.clock_timestamp())).scalar_one()
    row.delivered_at = row.error = row.status_code = None
    wake(session, CHANNEL)


@dataclass(frozen=True)
class Due:
    """A claimed delivery, with everything that the sender needs."""

    id: str
    webhook_id: str
    url: str
    secret: str
    payload: dict[str, Any]
    attempt: int
    at: datetime
    until: datetime
    """The end of the claim; the row has it as `next_at` until somebody claims or resends the delivery."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attempt: the status of the answer, the error, and the duration."""

    status_code: int | None
    error: str | None
    seconds: float


def claim(session: Session, busy: Collection[str], limit: int) -> list[Due]:
    """Claim the oldest due delivery of each webhook that is not `busy`. A claim without an outcome expires."""
    due = Delivery.next_at <= func.now()
    oldest = (
        select(Delivery.id)
        .join(Webhook)
        .where(due, Webhook.enabled, Webhook.id.not_in(busy))
        .ext(distinct_on(Delivery.webhook_id))
        .order_by(Delivery.webhook_id, Delivery.next_at)
    )
    query = (
        select(Delivery, Webhook, func.now())
        .join(Webhook)
        .where(Delivery.id.in_(oldest), due)
        .order_by(Delivery.next_at)
        .limit(limit)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    claimed = []
    for row, webhook, now in session.execute(query):
        row.attempts += 1
        row.next_at = until = now + timedelta(seconds=CLAIM_SECONDS)
        claimed.append(Due(row.id, webhook.id, webhook.url, webhook.secret, row.payload, row.attempts, now, until))
    return claimed


def record(session: Session, due: Due, outcome: Outcome) -> None:
    """Log the outcome of an attempt. It decides the delivery too, unless a later attempt was begun or asked for."""
    if outcome.status_code == GONE:
        session.execute(update(Webhook).where(Webhook.id == due.webhook_id).values(enabled=False))
    row = session.get(Delivery, due.id, with_for_update=True, populate_existing=True)
    if row is None:
        return
    row.attempt_log = _logged(row.attempt_log, due, outcome)
    if row.attempts == due.attempt and row.next_at == due.until:
        _settle(session, row, outcome)


def _logged(log: Sequence[dict[str, Any]], due: Due, outcome: Outcome) -> list[dict[str, Any]]:
    """The log with one more attempt, in the order in which attempts began: an outcome may be recorded late."""
    entry = {"attempt": due.attempt, "at": due.at.isoformat(), **asdict(outcome)}
    return sorted([*log, entry], key=itemgetter("attempt"))[-LOGGED_ATTEMPTS:]


def _settle(session: Session, row: Delivery, outcome: Outcome) -> None:
    """Mark the delivery as accepted, due again, or given up."""
    row.status_code, row.error = outcome.status_code, outcome.error
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    if is_accepted(outcome.status_code):
        row.delivered_at, row.next_at = now, None
        return
    next_at = now + retry_delay(row.attempts)
    hopeless = outcome.status_code == GONE or next_at > row.created_at + GIVEN_UP_AFTER
    row.next_at = None if hopeless else next_at
