"""Webhooks over HTTP: URLs that receive the events of their owner's jobs, and the log of deliveries to each."""

from typing import Annotated

from fastapi import Query

from hone.documents import (
    Deleted,
    DeliveryAttempt,
    DeliveryRead,
    Page,
    WebhookChange,
    WebhookCreate,
    WebhookCreated,
    WebhookRead,
)
from service import commands
from service.api.answers import refusals
from service.api.cursors import after_id
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.api.routing import Router
from service.persistence import deliveries, webhooks
from service.persistence.tables import Delivery, Webhook

router = Router(prefix="/v1/webhooks", tags=["webhooks"])
Limit = Annotated[int, Query(ge=1, le=100)]


@router.post("", status_code=201, responses=refusals(409))
def create_webhook(
    document: WebhookCreate, identity: Writer, session: SessionDep, parts: ServicesDep
) -> WebhookCreated:
    """Create a webhook: Hone posts job events to its URL. Only this answer contains the secret that signs them."""
    private = parts.settings.webhook_allow_private
    webhook = commands.create_webhook(session, identity.owner, document.url, document.events, private=private)
    return WebhookCreated(**dict(_document(webhook)), secret=webhook.secret)


@router.get("")
def list_webhooks(
    identity: Reader, session: SessionDep, after: Annotated[str | None, after_id("hook_")] = None, limit: Limit = 20
) -> Page[WebhookRead]:
    """List webhooks, newest first."""
    rows = webhooks.page(session, identity.visible_owner, after, limit + 1)
    return Page.of([_document(row) for row in rows], limit)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: str, identity: Reader, session: SessionDep) -> WebhookRead:
    """Show a webhook."""
    return _document(webhooks.get(session, webhook_id, identity.visible_owner))


@router.patch("/{webhook_id}")
def change_webhook(
    webhook_id: str, changes: WebhookChange, identity: Writer, session: SessionDep, parts: ServicesDep
) -> WebhookRead:
    """Change a webhook's URL or events, disable it, or enable it again; enabling sends what waited for it."""
    private = parts.settings.webhook_allow_private
    return _document(commands.change_webhook(session, identity.visible_owner, webhook_id, changes, private=private))


@router.delete("/{webhook_id}")
def delete_webhook(webhook_id: str, identity: Writer, session: SessionDep) -> Deleted:
    """Delete a webhook with its log and its unsent messages."""
    commands.delete_webhook(session, identity.visible_owner, webhook_id)
    return Deleted(id=webhook_id, object="webhook")


@router.post("/{webhook_id}/test", status_code=201, responses=refusals(409))
def test_webhook(webhook_id: str, identity: Writer, session: SessionDep) -> DeliveryRead:
    """Send a signed message of the type `webhook.test`; the log shows the outcome."""
    return _delivery(commands.test_webhook(session, identity.visible_owner, webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: str,
    identity: Reader,
    session: SessionDep,
    after: Annotated[str | None, after_id("msg_")] = None,
    limit: Limit = 20,
) -> Page[DeliveryRead]:
    """List messages to a webhook, newest first: each attempt, the last answer, the next attempt."""
    webhooks.get(session, webhook_id, identity.visible_owner)
    rows = deliveries.page(session, webhook_id, after, limit + 1)
    return Page.of([_delivery(row) for row in rows], limit)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
def get_delivery(webhook_id: str, delivery_id: str, identity: Reader, session: SessionDep) -> DeliveryRead:
    """Show one message as it was sent, with the outcome of each attempt."""
    webhooks.get(session, webhook_id, identity.visible_owner)
    return _delivery(deliveries.get(session, webhook_id, delivery_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", responses=refusals(409))
def redeliver(webhook_id: str, delivery_id: str, identity: Writer, session: SessionDep) -> DeliveryRead:
    """Send a message again under the same id, whatever its outcome was."""
    return _delivery(commands.redeliver(session, identity.visible_owner, webhook_id, delivery_id))


def _document(row: Webhook) -> WebhookRead:
    return WebhookRead(
        id=row.id, owner=row.owner, url=row.url, events=row.events, enabled=row.enabled, created_at=row.created_at
    )


def _delivery(row: Delivery) -> DeliveryRead:
    return DeliveryRead(
        id=row.id,
        webhook_id=row.webhook_id,
        type=row.type,
        job_id=row.job_id,
        payload=row.payload,
        attempts=row.attempts,
        attempt_log=[DeliveryAttempt.model_validate(attempt) for attempt in row.attempt_log],
        next_at=row.next_at,
        delivered_at=row.delivered_at,
        status_code=row.status_code,
        error=row.error,
        created_at=row.created_at,
    )
