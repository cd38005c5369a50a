"""What a user can do with webhooks."""

from collections.abc import Sequence

from hone.documents import WebhookChange
from hone.errors import Conflict
from service.domain.webhook_urls import check_url
from service.persistence import deliveries, webhooks
from service.persistence.database import Session
from service.persistence.tables import Delivery, Webhook

MAX_WEBHOOKS = 20  # of one owner


def create_webhook(session: Session, owner: str, url: str, events: Sequence[str], *, private: bool) -> Webhook:
    """A new webhook: from now on its URL receives the events of its owner's jobs."""
    check_url(url, private=private)
    if webhooks.count(session, owner) >= MAX_WEBHOOKS:
        raise Conflict(
            f"{owner} has {MAX_WEBHOOKS} webhooks, which is the limit; remove one first", code="too_many_webhooks"
        )
    return webhooks.add(session, owner, url, events)


def change_webhook(
    session: Session, owner: str | None, webhook_id: str, change: WebhookChange, *, private: bool
) -> Webhook:
    """Change the fields that are not None. Enabling a webhook again sends the deliveries that wait for it."""
    webhook = webhooks.get(session, webhook_id, owner, lock=True)
    if change.url is not None:
        check_url(change.url, private=private)
        webhook.url = change.url
    if change.events is not None:
        webhook.events = list(change.events)
    if change.enabled is not None:
        webhook.enabled = change.enabled
    return webhook


def delete_webhook(session: Session, owner: str | None, webhook_id: str) -> None:
    """Delete a webhook with its log and its unsent messages."""
    webhooks.remove(session, webhooks.get(session, webhook_id, owner, lock=True))


def test_webhook(session: Session, owner: str | None, webhook_id: str) -> Delivery:
    """Send a message of the type `webhook.test`."""
    return deliveries.add_test(session, _enabled(webhooks.get(session, webhook_id, owner)))


def redeliver(session: Session, owner: str | None, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, whatever its outcome was."""
    webhook = _enabled(webhooks.get(session, webhook_id, owner))
    delivery = deliveries.get(session, webhook.id, delivery_id, lock=True)
    deliveries.send_again(session, delivery)
    return delivery


def _enabled(webhook: Webhook) -> Webhook:
    if not webhook.enabled:
        raise Conflict(f"webhook {webhook.id} is disabled; enable it first", code="webhook_disabled")
    return webhook
