"""Webhooks: addresses that hear of their owner's jobs, and the log of what was sent to each."""

from typing import Annotated

from fastapi import APIRouter, Query

from service import commands
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.persistence import webhooks
from service.schemas import Deleted, DeliveryRead, Page, WebhookChange, WebhookCreate, WebhookCreated, WebhookRead

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
Limit = Annotated[int, Query(ge=1, le=100)]


@router.post("", status_code=201)
def create_webhook(wanted: WebhookCreate, identity: Writer, session: SessionDep, parts: ServicesDep) -> WebhookCreated:
    """Have an address told of your jobs. The secret that signs what is sent is in this answer and nowhere else."""
    private = parts.settings.webhook_allow_private
    made = commands.create_webhook(session, identity.owner, wanted.url, wanted.events, private=private)
    return WebhookCreated.model_validate(made)


@router.get("")
def list_webhooks(
    identity: Reader, session: SessionDep, after: str | None = None, limit: Limit = 20
) -> Page[WebhookRead]:
    """Webhooks, newest first."""
    found = webhooks.page(session, identity.sees, after, limit + 1)
    return Page.of([WebhookRead.model_validate(row) for row in found], limit)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: str, identity: Reader, session: SessionDep) -> WebhookRead:
    """A webhook as it stands."""
    return WebhookRead.model_validate(webhooks.get(session, webhook_id, identity.sees))


@router.patch("/{webhook_id}")
def change_webhook(
    webhook_id: str, wanted: WebhookChange, identity: Writer, session: SessionDep, parts: ServicesDep
) -> WebhookRead:
    """Change its URL or events, disable it, or enable it again: then what waited for it is sent."""
    changed = commands.change_webhook(
        session,
        identity.sees,
        webhook_id,
        url=wanted.url,
        events=wanted.events,
        enabled=wanted.enabled,
        private=parts.settings.webhook_allow_private,
    )
    return WebhookRead.model_validate(changed)


@router.delete("/{webhook_id}")
def delete_webhook(webhook_id: str, identity: Writer, session: SessionDep) -> Deleted:
    """Forget a webhook, its log and what was still to be sent to it."""
    commands.delete_webhook(session, identity.sees, webhook_id)
    return Deleted(id=webhook_id, object="webhook")


@router.post("/{webhook_id}/test", status_code=201)
def test_webhook(webhook_id: str, identity: Writer, session: SessionDep) -> DeliveryRead:
    """Send a signed message of the type `webhook.test`; the log tells what became of it."""
    return DeliveryRead.model_validate(commands.test_webhook(session, identity.sees, webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: str, identity: Reader, session: SessionDep, after: str | None = None, limit: Limit = 20
) -> Page[DeliveryRead]:
    """What was sent to a webhook, or is to be, newest first: each attempt, the last answer, the next try."""
    webhooks.get(session, webhook_id, identity.sees)
    found = webhooks.log(session, webhook_id, after, limit + 1)
    return Page.of([DeliveryRead.model_validate(row) for row in found], limit)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
def get_delivery(webhook_id: str, delivery_id: str, identity: Reader, session: SessionDep) -> DeliveryRead:
    """One message, as it was sent, and what came of each attempt."""
    webhooks.get(session, webhook_id, identity.sees)
    return DeliveryRead.model_validate(webhooks.delivery(session, webhook_id, delivery_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver")
def redeliver(webhook_id: str, delivery_id: str, identity: Writer, session: SessionDep) -> DeliveryRead:
    """Send a delivery once more, under the same id, whatever became of it."""
    return DeliveryRead.model_validate(commands.redeliver(session, identity.sees, webhook_id, delivery_id))
