"""API keys of a service."""

from hone.client.transport import Transport, without_none
from hone.documents import KeyCreated, KeyRead, Page
from hone.documents.limits import Limits


class Keys:
    """API keys of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def create(self, owner: str, *, role: str = "member", limits: Limits | None = None) -> KeyCreated:
        """A key for an owner; only this answer contains its secret."""
        document = {"owner": owner, "role": role, **(limits or Limits()).model_dump()}
        return KeyCreated.model_validate_json(self._http.send("POST", "/v1/keys", repeat=False, json=document))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[KeyRead]:
        """All keys without their secrets, newest first."""
        query = without_none(after=after, limit=limit)
        return Page[KeyRead].model_validate_json(self._http.send("GET", "/v1/keys", params=query))

    def revoke(self, key_id: str) -> KeyRead:
        """Revoke a key."""
        return KeyRead.model_validate_json(self._http.send("DELETE", f"/v1/keys/{key_id}"))
