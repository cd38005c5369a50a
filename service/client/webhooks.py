"""Webhooks of a service."""

from collections.abc import Sequence

from service.client.transport import Transport, given
from service.schemas import DeliveryRead, Page, WebhookCreated, WebhookRead


class Webhooks:
    """Webhooks of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def create(self, url: str, *, events: Sequence[str] | None = None) -> WebhookCreated:
        """Have an address told of your jobs, of their ends unless `events` says otherwise. Keep the secret."""
        wanted = given(url=url, events=events)
        return WebhookCreated.model_validate_json(self._http.send("POST", "/v1/webhooks", repeat=False, json=wanted))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[WebhookRead]:
        """Webhooks, newest first."""
        query = given(after=after, limit=limit)
        return Page[WebhookRead].model_validate_json(self._http.send("GET", "/v1/webhooks", params=query))

    def get(self, webhook_id: str) -> WebhookRead:
        """A webhook as it stands."""
        return WebhookRead.model_validate_json(self._http.send("GET", f"/v1/webhooks/{webhook_id}"))

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> WebhookRead:
        """Change what is given."""
        wanted = given(url=url, events=events, enabled=enabled)
        return WebhookRead.model_validate_json(self._http.send("PATCH", f"/v1/webhooks/{webhook_id}", json=wanted))

    def delete(self, webhook_id: str) -> None:
        """Forget a webhook, its log and what was still to be sent to it."""
        self._http.send("DELETE", f"/v1/webhooks/{webhook_id}", repeat=False)

    def test(self, webhook_id: str) -> DeliveryRead:
        """Send a message that tells of nothing."""
        answer = self._http.send("POST", f"/v1/webhooks/{webhook_id}/test", repeat=False)
        return DeliveryRead.model_validate_json(answer)

    def deliveries(self, webhook_id: str, *, after: str | None = None, limit: int = 20) -> Page[DeliveryRead]:
        """What was sent to a webhook, or is to be, newest first."""
        path, query = f"/v1/webhooks/{webhook_id}/deliveries", given(after=after, limit=limit)
        return Page[DeliveryRead].model_validate_json(self._http.send("GET", path, params=query))

    def delivery(self, webhook_id: str, delivery_id: str) -> DeliveryRead:
        """One message, as it was sent, and what came of each attempt."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}"
        return DeliveryRead.model_validate_json(self._http.send("GET", path))

    def redeliver(self, webhook_id: str, delivery_id: str) -> DeliveryRead:
        """Send a delivery once more, under the same id."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return DeliveryRead.model_validate_json(self._http.send("POST", path))
