"""What endpoints ask for: the service's parts, one transaction, and who is asking."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.bells import Listener, Ringer
from service.domain.errors import Forbidden, Unauthorized
from service.persistence import keys
from service.persistence.database import Database, Session
from service.settings import Settings
from service.storage import Storage


@dataclass(frozen=True)
class Services:
    """The parts of a running API, made once."""

    settings: Settings
    database: Database
    storage: Storage
    ringer: Ringer
    listener: Listener


@dataclass(frozen=True)
class Identity:
    """Who is asking."""

    owner: str
    role: str

    @property
    def sees(self) -> str | None:
        """Whose things are visible: one's own; an admin sees everybody's (None)."""
        return None if self.role == "admin" else self.owner


def services(request: Request) -> Services:
    """The parts of this API."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]


def _transaction(parts: ServicesDep) -> Iterator[Session]:
    with parts.database.transaction() as session:
        yield session


# By default FastAPI runs what follows `yield` after the response: a failed commit would already have answered 201.
SessionDep = Annotated[Session, Depends(_transaction, scope="function")]
_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer hone-…`")


def _identity(
    parts: ServicesDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer hone-…'", code="missing_api_key")
    with parts.database.transaction() as session:
        key = keys.find(session, credentials.credentials)
        if key is None:
            raise Unauthorized("this API key is unknown, expired or revoked")
        return Identity(key.owner, key.role)


Reader = Annotated[Identity, Depends(_identity)]


def _writer(identity: Reader) -> Identity:
    if identity.role == "viewer":
        raise Forbidden("this key is a viewer's: it can look but not change; ask for a member's key")
    return identity


def _admin(identity: Reader) -> Identity:
    if identity.role != "admin":
        raise Forbidden(f"this needs an admin's key, but this one is a {identity.role}'s")
    return identity


Writer = Annotated[Identity, Depends(_writer)]
Admin = Annotated[Identity, Depends(_admin)]
