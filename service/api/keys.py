"""Keys, and how a person gets into the page: an admin's program asks for a link, the browser spends it."""

from fastapi import APIRouter

from service import commands
from service.api.dependencies import Admin, SessionDep
from service.persistence.tables import Key
from service.schemas import KeyCreate, KeyCreated, Login, LoginLink

router = APIRouter(prefix="/v1", tags=["keys"])


@router.post("/keys", status_code=201)
def create_key(wanted: KeyCreate, _: Admin, session: SessionDep) -> KeyCreated:
    """A key for an owner; its secret is in this answer and nowhere else."""
    return _created(*commands.create_key(session, wanted.owner, wanted.role))


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
    return KeyCreated(id=key.id, owner=key.owner, role=key.role, secret=secret, expires_at=key.expires_at)
