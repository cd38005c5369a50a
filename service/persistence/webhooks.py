"""Webhooks and their deliveries: announced with the move that they tell of, claimed, sent, recorded."""

import base64
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from service.domain import ids
from service.domain.errors import NotFound
from service.domain.webhooks import ANNOUNCED, GIVEN_UP_AFTER, LOGGED_ATTEMPTS, TEST, is_taken, retry_delay
from service.persistence.database import wake
from service.persistence.tables import Delivery, Job, Webhook

CHANNEL = "hone:webhooks"
CLAIM_SECONDS = 30.0  # well above what one attempt may take: then its sender is gone, and another one tries
GONE = 410


def add(session: Session, owner: str, url: str, events: Sequence[str]) -> Webhook:
    """A new webhook with a secret of its own, which must be kept readable: it signs."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    webhook = Webhook(id=ids.new("hook_"), owner=owner, url=url, secret=secret, events=list(events), enabled=True)
    session.add(webhook)
    session.flush()
    session.refresh(webhook)
    return webhook


def get(session: Session, webhook_id: str, owner: str | None, *, lock: bool = False) -> Webhook:
    """The webhook, if `owner` may see it (None: everybody's), or NotFound. Jobs can be announced while it is locked."""
    how = {"key_share": True} if lock else None
    webhook = session.get(Webhook, webhook_id, with_for_update=how, populate_existing=lock)
    if webhook is None or owner not in (None, webhook.owner):
        raise NotFound(f"no webhook {webhook_id}", param="webhook_id", code="webhook_not_found")
    return webhook


def page(session: Session, owner: str | None, after: str | None, limit: int) -> list[Webhook]:
    """Newest first (ids sort by age); `after` is the last one already seen."""
    query = select(Webhook).order_by(Webhook.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(Webhook.owner == owner)
    if after is not None:
        query = query.where(Webhook.id < after)
    return list(session.scalars(query))


def count(session: Session, owner: str) -> int:
    """How many an owner has."""
    return session.scalar(select(func.count()).where(Webhook.owner == owner)) or 0


def remove(session: Session, webhook: Webhook) -> None:
    """Forget a webhook and what was to be sent to it."""
    session.delete(webhook)


def announce(session: Session, job: Job) -> None:
    """Have the owner's webhooks told of a job's new status once this transaction has happened."""
    event = ANNOUNCED.get(job.status)
    if event is None:
        return
    wanted = select(Webhook).where(Webhook.owner == job.owner, Webhook.enabled, Webhook.events.contains([event]))
    found = session.scalars(wanted.with_for_update(read=True, key_share=True)).all()  # none is removed meanwhile
    if found:
        payload = _payload(session, event, job.id)
        for webhook in found:
            _enqueue(session, webhook, payload, job.id)


def test(session: Session, webhook: Webhook) -> Delivery:
    """A message that tells of nothing."""
    return _enqueue(session, webhook, _payload(session, TEST, webhook.id), None)


def _payload(session: Session, event: str, about: str) -> dict[str, Any]:
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    stamp = int(now.timestamp())
    return {"id": ids.new("evt_"), "object": "event", "created_at": stamp, "type": event, "data": {"id": about}}


def _enqueue(session: Session, webhook: Webhook, payload: dict[str, Any], job_id: str | None) -> Delivery:
    made = Delivery(
        id=ids.new("msg_"), webhook_id=webhook.id, type=payload["type"], job_id=job_id, payload=payload, attempts=0
    )
    session.add(made)
    session.flush()
    session.refresh(made)
    wake(session, CHANNEL)
    return made


def log(session: Session, webhook_id: str, after: str | None, limit: int) -> list[Delivery]:
    """A webhook's deliveries, newest first."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
    return list(session.scalars(query if after is None else query.where(Delivery.id < after)))


def delivery(session: Session, webhook_id: str, delivery_id: str, *, lock: bool = False) -> Delivery:
    """One of a webhook's deliveries, or NotFound."""
    found = session.get(Delivery, delivery_id, with_for_update=lock or None, populate_existing=lock)
    if found is None or found.webhook_id != webhook_id:
        raise NotFound(f"no delivery {delivery_id}", param="delivery_id", code="delivery_not_found")
    return found


def again(session: Session, found: Delivery) -> None:
    """Send a delivery once more, under the same id."""
    found.next_at = session.execute(select(func.clock_timestamp())).scalar_one()
    found.delivered_at = found.error = found.status_code = None
    wake(session, CHANNEL)


@dataclass(frozen=True)
class Due:
    """A delivery that was claimed: all that sending it takes."""

    id: str
    webhook_id: str
    url: str
    secret: str
    payload: dict[str, Any]
    attempt: int
    at: datetime
    until: datetime
    """The end of the claim: the row says so as long as nothing else was wanted of the delivery."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt: the status that was answered, what was wrong with it, and how long it took."""

    status_code: int | None
    error: str | None
    seconds: float


def claim(session: Session, busy: Collection[str], limit: int) -> list[Due]:
    """The oldest due delivery of each webhook that is not `busy`; tried again by anybody if nothing is recorded."""
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
    """Log what came of an attempt. It is what became of the delivery, too, unless a later one was begun, or asked for,
    meanwhile.
    """
    if outcome.status_code == GONE:
        session.execute(update(Webhook).where(Webhook.id == due.webhook_id).values(enabled=False))
    row = session.get(Delivery, due.id, with_for_update=True, populate_existing=True)
    if row is None:
        return
    row.attempt_log = _logged(row.attempt_log, due, outcome)
    if row.attempts == due.attempt and row.next_at == due.until:
        _settle(session, row, outcome)


def _logged(log: Sequence[dict[str, Any]], due: Due, outcome: Outcome) -> list[dict[str, Any]]:
    """The log with one more attempt, in the order in which they were begun: the word of one may come late."""
    entry = {"attempt": due.attempt, "at": due.at.isoformat(), **asdict(outcome)}
    return sorted([*log, entry], key=itemgetter("attempt"))[-LOGGED_ATTEMPTS:]


def _settle(session: Session, row: Delivery, outcome: Outcome) -> None:
    """Taken, to be tried again, or given up."""
    row.status_code, row.error = outcome.status_code, outcome.error
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    if is_taken(outcome.status_code):
        row.delivered_at, row.next_at = now, None
        return
    next_at = now + retry_delay(row.attempts)
    hopeless = outcome.status_code == GONE or next_at > row.created_at + GIVEN_UP_AFTER
    row.next_at = None if hopeless else next_at
