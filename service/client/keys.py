"""API keys of a service."""

from service.client.transport import Transport, given
from service.domain.keys import Limits
from service.schemas import KeyCreated, KeyRead, Page


class Keys:
    """API keys of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def create(self, owner: str, *, role: str = "member", limits: Limits | None = None) -> KeyCreated:
        """A key for an owner; its secret is shown this once."""
        wanted = {"owner": owner, "role": role, **(limits or Limits()).model_dump()}
        return KeyCreated.model_validate_json(self._http.send("POST", "/v1/keys", repeat=False, json=wanted))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[KeyRead]:
        """Everybody's keys without their secrets, newest first."""
        query = given(after=after, limit=limit)
        return Page[KeyRead].model_validate_json(self._http.send("GET", "/v1/keys", params=query))

    def revoke(self, key_id: str) -> KeyRead:
        """Let a key work no more."""
        return KeyRead.model_validate_json(self._http.send("DELETE", f"/v1/keys/{key_id}"))
