"""API keys over HTTP, and logging in to the page: an admin creates a link, the browser exchanges it for a key."""

from typing import Annotated

from anyio import from_thread
from fastapi import Query

from hone.documents import KeyCreate, KeyCreated, KeyRead, Login, LoginLinkCreated, Page
from service import commands
from service.api.answers import refusals
from service.api.cursors import after_id
from service.api.dependencies import Admin, ServicesDep, SessionDep
from service.api.routing import Router
from service.persistence import keys
from service.persistence.tables import Key

router = Router(prefix="/v1", tags=["keys"])


@router.post("/keys", status_code=201)
def create_key(document: KeyCreate, _: Admin, session: SessionDep) -> KeyCreated:
    """Create a key for an owner. Only this answer contains its secret."""
    return _created(*commands.create_key(session, document.owner, document.role, document))


@router.get("/keys")
def list_keys(
    _: Admin,
    session: SessionDep,
    after: Annotated[str | None, after_id("key_")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[KeyRead]:
    """List all keys without their secrets, newest first, including revoked ones and those of browsers."""
    rows = keys.page(session, after, limit + 1)
    return Page.of([_document(key) for key in rows], limit)


@router.delete("/keys/{key_id}")
def revoke_key(key_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> KeyRead:
    """Revoke a key: at once, or within five seconds if it was just used. Its streams end, its jobs continue."""
    key = commands.revoke_key(session, key_id)
    from_thread.run_sync(parts.forget_key, key_id)
    return _document(key)


@router.post("/login_links", status_code=201)
def create_login_link(identity: Admin, session: SessionDep) -> LoginLinkCreated:
    """Create a token for `URL/#/login/TOKEN`, which works once, for some minutes."""
    token, expires_at = commands.create_login_link(session, identity.owner, identity.role)
    return LoginLinkCreated(token=token, expires_at=expires_at)


@router.post("/login", status_code=201, responses=refusals(401))
def log_in(login: Login, session: SessionDep) -> KeyCreated:
    """Exchange a login token for a key of this browser."""
    return _created(*commands.log_in(session, login.token))


def _created(key: Key, secret: str) -> KeyCreated:
    return KeyCreated(**dict(_document(key)), secret=secret)


def _document(key: Key) -> KeyRead:
    return KeyRead(
        id=key.id,
        owner=key.owner,
        role=key.role,
        max_running=key.max_running,
        max_queued=key.max_queued,
        max_gpus=key.max_gpus,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
