"""What endpoints depend on: the parts of the service, a session, and the identity of the caller."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hone.errors import Forbidden, Unauthorized
from service.api.admission import Admissions, SharedCalls
from service.api.streams import Streams
from service.messaging.wakeups import Listener, Publisher
from service.persistence import keys
from service.persistence.database import Database, Session
from service.queue_view import QueueView
from service.settings import Settings
from service.storage.store import Storage


@dataclass(frozen=True)
class Identity:
    """Who sends the request: owner and role of its key."""

    owner: str
    role: str
    key_id: str
    max_queued: int | None

    @property
    def visible_owner(self) -> str | None:
        """The owner whose jobs, files and webhooks are visible: oneself; None for an admin, who may see all owners'."""
        return None if self.role == "admin" else self.owner


class Identities:
    """A cache of who owns which key, by the key's hash, so that polling does not query the database each time.

    Requests that come at the same time with a key that is not cached share one query.
    """

    SECONDS = 5.0  # how long a revoked key may still work
    MAX_KEYS = 10_000

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Identity]] = {}
        self._asked = SharedCalls()

    async def find(self, secret: str, look_up: Callable[[], Coroutine[Any, Any, Identity]]) -> Identity:
        """The cached identity of a key, or what `look_up` answers."""
        hashed = keys.digest(secret)
        until, identity = self._known.get(hashed, (0.0, None))
        if identity is None or time.monotonic() >= until:
            identity = await self._asked.get(hashed, look_up)
            if len(self._known) >= self.MAX_KEYS:
                self._known.clear()
            self._known[hashed] = (time.monotonic() + self.SECONDS, identity)
        return identity

    def forget(self, key_id: str) -> None:
        """Drop a revoked key from this cache; in other processes its entry expires within SECONDS."""
        self._known = {hashed: known for hashed, known in self._known.items() if known[1].key_id != key_id}


@dataclass(frozen=True)
class Services:
    """The parts of a running API, constructed once."""

    settings: Settings
    database: Database
    storage: Storage
    publisher: Publisher
    listener: Listener
    identities: Identities = field(default_factory=Identities)
    queue: QueueView = field(default_factory=QueueView)
    admissions: Admissions = field(default_factory=Admissions)
    streams: Streams = field(default_factory=Streams)
    checks: SharedCalls = field(default_factory=SharedCalls)

    def forget_key(self, key_id: str) -> None:
        """It was revoked. Other processes find that out within five seconds."""
        self.identities.forget(key_id)
        self.streams.close_those_of(key_id)


# Dependencies that never block are `async`: FastAPI runs plain functions in threads, which costs more than their work.


async def services(request: Request) -> Services:
    """The parts of this API."""
    parts: Services = request.app.state.services
    return parts


ServicesDep = Annotated[Services, Depends(services)]


async def _session(parts: ServicesDep) -> Session:
    """Not begun: `service/api/routing.py` begins and ends its transaction, in the thread of the endpoint."""
    return parts.database.session()


SessionDep = Annotated[Session, Depends(_session)]
_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer hone-…`")


async def check_key(
    parts: ServicesDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    """Who sends the request. Unauthorized without a valid key."""
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer hone-…'", code="missing_api_key")
    secret = credentials.credentials
    return await parts.identities.find(secret, partial(parts.admissions.keys.run, partial(_look_up, parts, secret)))


def _look_up(parts: Services, secret: str) -> Identity:
    with parts.database.transaction() as session:
        key = keys.find(session, secret)
        if key is None:
            raise Unauthorized("this API key is unknown, expired or revoked")
        return Identity(key.owner, key.role, key.id, key.max_queued)


Reader = Annotated[Identity, Depends(check_key)]


async def _writer(identity: Reader) -> Identity:
    if identity.role == "viewer":
        raise Forbidden("this key has the role viewer, which may only read; use a key with the role member")
    return identity


async def _admin(identity: Reader) -> Identity:
    if identity.role != "admin":
        raise Forbidden(f"this request needs the role admin, but this key has the role {identity.role}")
    return identity


CHECKS_OF_ROLES = {_writer, _admin}
Writer = Annotated[Identity, Depends(_writer)]
Admin = Annotated[Identity, Depends(_admin)]
