"""What a user can do with keys and login links."""

from datetime import UTC, datetime, timedelta

from hone.documents.limits import Limits
from hone.errors import Unauthorized
from service.persistence import keys
from service.persistence.database import Session
from service.persistence.tables import Key

LINK_MINUTES = 15
SESSION_DAYS = 30


def create_key(session: Session, owner: str, role: str, limits: Limits | None = None) -> tuple[Key, str]:
    """Create a key; returns it with its secret, which is not stored."""
    return keys.add(session, owner, role, limits=limits or Limits())


def revoke_key(session: Session, key_id: str) -> Key:
    """Revoke a key. Its jobs continue; revoking it twice is allowed."""
    key = keys.get(session, key_id)
    key.revoked_at = key.revoked_at or datetime.now(UTC)
    return key


def create_login_link(session: Session, owner: str, role: str) -> tuple[str, datetime]:
    """Create a token that opens the page once; returns it with its expiry."""
    expires_at = datetime.now(UTC) + timedelta(minutes=LINK_MINUTES)
    return keys.add_link(session, owner, role, expires_at), expires_at


def log_in(session: Session, token: str) -> tuple[Key, str]:
    """Exchange a login token for a key of a browser."""
    created = keys.exchange_link(session, token, datetime.now(UTC), timedelta(days=SESSION_DAYS))
    if created is None:
        raise Unauthorized(
            "this login link was used or has expired; `hone login` prints a new one", code="invalid_token"
        )
    return created
