"""What a user can do with keys and login links."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Started:
    """A browser's session: its key, the key's secret, and when the browser must log in again."""

    key: Key
    secret: str
    expires_at: datetime


def start_session(session: Session, token: str | None, secret: str | None) -> Started:
    """Log a browser in with the token of a login link, or with the secret of a key."""
    latest = datetime.now(UTC) + timedelta(days=SESSION_DAYS)
    if token is not None:
        key, secret = log_in(session, token)
        return Started(key, secret, key.expires_at or latest)
    key_or_none = keys.find(session, secret or "")
    if key_or_none is None:
        raise Unauthorized("this API key is unknown, expired or revoked")
    return Started(key_or_none, secret or "", min(key_or_none.expires_at or latest, latest))


def end_session(session: Session, secret: str) -> Key | None:
    """Revoke the key of a session that began with a login link, and return it. Keys of users are left alone."""
    key = keys.find(session, secret)
    if key is None or key.expires_at is None:  # only login links make keys that expire
        return None
    return revoke_key(session, key.id)
