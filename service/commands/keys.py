"""Keys and login links."""

from datetime import UTC, datetime, timedelta

from service.domain.errors import Unauthorized
from service.domain.keys import Limits
from service.persistence import keys
from service.persistence.database import Session
from service.persistence.tables import Key

LINK_MINUTES = 15
SESSION_DAYS = 30


def create_key(session: Session, owner: str, role: str, limits: Limits | None = None) -> tuple[Key, str]:
    """A key and its secret, which is shown this once."""
    return keys.add(session, owner, role, limits=limits or Limits())


def revoke_key(session: Session, key_id: str) -> Key:
    """A key that works no more. Its jobs go on; revoking it twice is fine."""
    key = keys.get(session, key_id)
    key.revoked_at = key.revoked_at or datetime.now(UTC)
    return key


def create_login_link(session: Session, owner: str, role: str) -> tuple[str, datetime]:
    """A token that opens the page once, and until when."""
    expires_at = datetime.now(UTC) + timedelta(minutes=LINK_MINUTES)
    return keys.add_link(session, owner, role, expires_at), expires_at


def log_in(session: Session, token: str) -> tuple[Key, str]:
    """Change a login token into a key for a browser."""
    made = keys.spend_link(session, token, datetime.now(UTC), timedelta(days=SESSION_DAYS))
    if made is None:
        raise Unauthorized(
            "this login link was used or has expired; `hone login` makes a new one", code="invalid_token"
        )
    return made
