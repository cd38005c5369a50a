"""What endpoints depend on: the parts of the service, one transaction, and the identity of the caller."""

import time
from asyncio import shield
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hone.errors import Forbidden, Unauthorized
from service.failpoints import failpoint
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
    """A cache of who owns which key, by the key's hash, so that polling does not query the database each time."""

    SECONDS = 5.0  # how long a revoked key may still work
    MAX_KEYS = 10_000

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Identity]] = {}

    def get(self, secret: str) -> Identity | None:
        """The cached identity of a key, or None."""
        until, identity = self._known.get(keys.digest(secret), (0.0, None))
        return identity if time.monotonic() < until else None

    def put(self, secret: str, identity: Identity) -> None:
        """Cache an identity for SECONDS."""
        if len(self._known) >= self.MAX_KEYS:
            self._known.clear()
        self._known[keys.digest(secret)] = (time.monotonic() + self.SECONDS, identity)

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


# Dependencies that never block are `async`: FastAPI runs plain functions in threads, which costs more than their work.


async def services(request: Request) -> Services:
    """The parts of this API."""
    parts: Services = request.app.state.services
    return parts


ServicesDep = Annotated[Services, Depends(services)]


async def _transaction(parts: ServicesDep) -> AsyncIterator[Session]:
    """Opening a transaction does not contact the database; ending it does, so that happens in a thread."""
    transaction = parts.database.transaction()
    session = transaction.__enter__()
    try:
        yield session
    except BaseException as error:
        # shielded: the connection goes back also when the server stops
        await shield(run_in_threadpool(transaction.__exit__, type(error), error, error.__traceback__))
        raise
    await shield(run_in_threadpool(_commit, transaction))


def _commit(transaction: AbstractContextManager[Session]) -> None:
    with ExitStack() as end:
        end.push(transaction)
        failpoint("request.committing")
    failpoint("request.committed")


# By default FastAPI runs what follows `yield` after the response: a failed commit would already have answered 201.
SessionDep = Annotated[Session, Depends(_transaction, scope="function")]
_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer hone-…`")


async def _identity(
    parts: ServicesDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer hone-…'", code="missing_api_key")
    identity = parts.identities.get(credentials.credentials)
    if identity is None:
        identity = await run_in_threadpool(_look_up, parts, credentials.credentials)
        parts.identities.put(credentials.credentials, identity)
    return identity


def _look_up(parts: Services, secret: str) -> Identity:
    with parts.database.transaction() as session:
        key = keys.find(session, secret)
        if key is None:
            raise Unauthorized("this API key is unknown, expired or revoked")
        return Identity(key.owner, key.role, key.id, key.max_queued)


Reader = Annotated[Identity, Depends(_identity)]


async def _writer(identity: Reader) -> Identity:
    if identity.role == "viewer":
        raise Forbidden("this key has the role viewer, which may only read; use a key with the role member")
    return identity


async def _admin(identity: Reader) -> Identity:
    if identity.role != "admin":
        raise Forbidden(f"this request needs the role admin, but this key has the role {identity.role}")
    return identity


Writer = Annotated[Identity, Depends(_writer)]
Admin = Annotated[Identity, Depends(_admin)]
