"""What endpoints ask for: the service's parts, one transaction, and who is asking."""

import time
from asyncio import shield
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.bells import Listener, Ringer
from service.domain.errors import Forbidden, Unauthorized
from service.failpoints import failpoint
from service.persistence import keys
from service.persistence.database import Database, Session
from service.settings import Settings
from service.storage import Storage


@dataclass(frozen=True)
class Identity:
    """Who is asking."""

    owner: str
    role: str
    key_id: str
    max_queued: int | None

    @property
    def sees(self) -> str | None:
        """Whose things are visible: one's own; an admin sees everybody's (None)."""
        return None if self.role == "admin" else self.owner


class Identities:
    """Keys seen in the last seconds, by their hash: a poller does not cost a look-up each time."""

    SECONDS = 5.0  # how long a revoked key may still work
    MOST = 10_000

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Identity]] = {}

    def get(self, secret: str) -> Identity | None:
        """Who it was a moment ago."""
        until, identity = self._known.get(keys.digest(secret), (0.0, None))
        return identity if time.monotonic() < until else None

    def put(self, secret: str, identity: Identity) -> None:
        """Remember for a moment."""
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[keys.digest(secret)] = (time.monotonic() + self.SECONDS, identity)

    def forget(self, key_id: str) -> None:
        """A key was revoked: here at once, in other processes within SECONDS."""
        self._known = {hashed: known for hashed, known in self._known.items() if known[1].key_id != key_id}


@dataclass(frozen=True)
class Services:
    """The parts of a running API, made once."""

    settings: Settings
    database: Database
    storage: Storage
    ringer: Ringer
    listener: Listener
    identities: Identities = field(default_factory=Identities)


# What waits for nothing is `async`: FastAPI runs a plain function in a thread, which costs more than it does itself.


async def services(request: Request) -> Services:
    """The parts of this API."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]


async def _transaction(parts: ServicesDep) -> AsyncIterator[Session]:
    """Opening it asks nobody yet; ending it does, so that happens in a thread."""
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
    known = parts.identities.get(credentials.credentials)
    if known is None:
        known = await run_in_threadpool(_looked_up, parts, credentials.credentials)
        parts.identities.put(credentials.credentials, known)
    return known


def _looked_up(parts: Services, secret: str) -> Identity:
    with parts.database.transaction() as session:
        key = keys.find(session, secret)
        if key is None:
            raise Unauthorized("this API key is unknown, expired or revoked")
        return Identity(key.owner, key.role, key.id, key.max_queued)


Reader = Annotated[Identity, Depends(_identity)]


async def _writer(identity: Reader) -> Identity:
    if identity.role == "viewer":
        raise Forbidden("this key is a viewer's: it can look but not change; ask for a member's key")
    return identity


async def _admin(identity: Reader) -> Identity:
    if identity.role != "admin":
        raise Forbidden(f"this needs an admin's key, but this one is a {identity.role}'s")
    return identity


Writer = Annotated[Identity, Depends(_writer)]
Admin = Annotated[Identity, Depends(_admin)]
