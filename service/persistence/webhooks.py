"""Webhooks: URLs that receive the events of their owner's jobs. What is sent to them is in `deliveries.py`."""

import base64
import secrets
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hone.errors import NotFound
from service.domain import ids
from service.persistence.tables import Webhook


def add(session: Session, owner: str, url: str, events: Sequence[str]) -> Webhook:
    """A new webhook with a secret of its own. The secret is stored as it is, because it signs messages."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    webhook = Webhook(id=ids.new("hook_"), owner=owner, url=url, secret=secret, events=list(events), enabled=True)
    session.add(webhook)
    session.flush()
    session.refresh(webhook)
    return webhook


def get(session: Session, webhook_id: str, owner: str | None, *, lock: bool = False) -> Webhook:
    """The webhook, if `owner` may see it (None: any), or NotFound. Jobs can add deliveries to a locked one."""
    locking = {"key_share": True} if lock else None
    webhook = session.get(Webhook, webhook_id, with_for_update=locking, populate_existing=lock)
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
    """How many webhooks an owner has."""
    return session.scalar(select(func.count()).where(Webhook.owner == owner)) or 0


def remove(session: Session, webhook: Webhook) -> None:
    """Delete a webhook with its deliveries."""
    session.delete(webhook)
