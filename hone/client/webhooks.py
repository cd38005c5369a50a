"""Webhooks of a service."""

from collections.abc import Sequence

from hone.client.transport import Transport, without_none
from hone.documents import DeliveryRead, Page, WebhookCreated, WebhookRead


class Webhooks:
    """Webhooks of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def create(self, url: str, *, events: Sequence[str] | None = None) -> WebhookCreated:
        """Let Hone post job events to a URL, by default when jobs end. Only this answer contains the secret."""
        document = without_none(url=url, events=events)
        return WebhookCreated.model_validate_json(self._http.send("POST", "/v1/webhooks", repeat=False, json=document))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[WebhookRead]:
        """Webhooks, newest first."""
        query = without_none(after=after, limit=limit)
        return Page[WebhookRead].model_validate_json(self._http.send("GET", "/v1/webhooks", params=query))

    def get(self, webhook_id: str) -> WebhookRead:
        """A webhook."""
        return WebhookRead.model_validate_json(self._http.send("GET", f"/v1/webhooks/{webhook_id}"))

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> WebhookRead:
        """Change the fields that are given."""
        document = without_none(url=url, events=events, enabled=enabled)
        return WebhookRead.model_validate_json(self._http.send("PATCH", f"/v1/webhooks/{webhook_id}", json=document))

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook with its log and its unsent messages."""
        self._http.send("DELETE", f"/v1/webhooks/{webhook_id}", repeat=False)

    def test(self, webhook_id: str) -> DeliveryRead:
        """Send a signed test message."""
        answer = self._http.send("POST", f"/v1/webhooks/{webhook_id}/test", repeat=False)
        return DeliveryRead.model_validate_json(answer)

    def deliveries(self, webhook_id: str, *, after: str | None = None, limit: int = 20) -> Page[DeliveryRead]:
        """Messages to a webhook, sent and unsent, newest first."""
        path, query = f"/v1/webhooks/{webhook_id}/deliveries", without_none(after=after, limit=limit)
        return Page[DeliveryRead].model_validate_json(self._http.send("GET", path, params=query))

    def delivery(self, webhook_id: str, delivery_id: str) -> DeliveryRead:
        """One message as it was sent, with the outcome of each attempt."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}"
        return DeliveryRead.model_validate_json(self._http.send("GET", path))

    def redeliver(self, webhook_id: str, delivery_id: str) -> DeliveryRead:
        """Send a message again under the same id."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return DeliveryRead.model_validate_json(self._http.send("POST", path))
