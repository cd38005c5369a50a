"""Webhooks: made, changed, tried."""

from collections.abc import Sequence

from service.domain.errors import Conflict
from service.domain.webhooks import check_url
from service.persistence import webhooks
from service.persistence.database import Session
from service.persistence.tables import Delivery, Webhook

MOST_WEBHOOKS = 20  # of one owner


def create_webhook(session: Session, owner: str, url: str, events: Sequence[str], *, private: bool) -> Webhook:
    """An address that hears of its owner's jobs from now on."""
    check_url(url, private=private)
    if webhooks.count(session, owner) >= MOST_WEBHOOKS:
        raise Conflict(f"{owner} has {MOST_WEBHOOKS} webhooks already; remove one first", code="too_many_webhooks")
    return webhooks.add(session, owner, url, events)


def change_webhook(
    session: Session,
    owner: str | None,
    webhook_id: str,
    *,
    url: str | None,
    events: Sequence[str] | None,
    enabled: bool | None,
    private: bool,
) -> Webhook:
    """Change what is not None. What waits for a webhook that is enabled again is sent."""
    webhook = webhooks.get(session, webhook_id, owner, lock=True)
    if url is not None:
        check_url(url, private=private)
        webhook.url = url
    if events is not None:
        webhook.events = list(events)
    if enabled is not None:
        webhook.enabled = enabled
    return webhook


def delete_webhook(session: Session, owner: str | None, webhook_id: str) -> None:
    """Forget a webhook, its log, and what was still to be sent to it."""
    webhooks.remove(session, webhooks.get(session, webhook_id, owner, lock=True))


def test_webhook(session: Session, owner: str | None, webhook_id: str) -> Delivery:
    """Send a message that tells of nothing."""
    return webhooks.test(session, _enabled(webhooks.get(session, webhook_id, owner)))


def redeliver(session: Session, owner: str | None, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, whatever became of it."""
    webhook = _enabled(webhooks.get(session, webhook_id, owner))
    found = webhooks.delivery(session, webhook.id, delivery_id, lock=True)
    webhooks.again(session, found)
    return found


def _enabled(webhook: Webhook) -> Webhook:
    if not webhook.enabled:
        raise Conflict(f"webhook {webhook.id} is disabled; enable it first", code="webhook_disabled")
    return webhook
