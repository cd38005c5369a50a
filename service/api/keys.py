"""Keys, and how a person gets into the page: an admin's program asks for a link, the browser spends it."""

from typing import Annotated

from fastapi import APIRouter, Query

from service import commands
from service.api.dependencies import Admin, ServicesDep, SessionDep
from service.persistence import keys
from service.persistence.tables import Key
from service.schemas import KeyCreate, KeyCreated, KeyRead, Login, LoginLink, Page

router = APIRouter(prefix="/v1", tags=["keys"])


@router.post("/keys", status_code=201)
def create_key(wanted: KeyCreate, _: Admin, session: SessionDep) -> KeyCreated:
    """A key for an owner; its secret is in this answer and nowhere else."""
    return _created(*commands.create_key(session, wanted.owner, wanted.role, wanted))


@router.get("/keys")
def list_keys(
    _: Admin, session: SessionDep, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Page[KeyRead]:
    """Everybody's keys without their secrets, newest first; those of browsers and revoked ones too."""
    found = keys.page(session, after, limit + 1)
    return Page.of([KeyRead.model_validate(key) for key in found], limit)


@router.delete("/keys/{key_id}")
def revoke_key(key_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> KeyRead:
    """Let a key work no more: at once, or within five seconds where it was just used. Its jobs go on."""
    key = commands.revoke_key(session, key_id)
    parts.identities.forget(key_id)
    return KeyRead.model_validate(key)


@router.post("/login_links", status_code=201)
def create_login_link(identity: Admin, session: SessionDep) -> LoginLink:
    """A token for `URL/#/login/TOKEN`; it works once, for some minutes."""
    token, expires_at = commands.create_login_link(session, identity.owner, identity.role)
    return LoginLink(token=token, expires_at=expires_at)


@router.post("/login", status_code=201)
def log_in(login: Login, session: SessionDep) -> KeyCreated:
    """Change a login token into a key for this browser."""
    return _created(*commands.log_in(session, login.token))


def _created(key: Key, secret: str) -> KeyCreated:
    return KeyCreated.model_validate({**KeyRead.model_validate(key).model_dump(), "secret": secret})
