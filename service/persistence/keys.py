"""API keys and login links. Secrets are random and long, so a plain hash of them is enough."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from service.domain import ids
from service.persistence.tables import Key, LoginLink


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(session: Session, owner: str, role: str, expires_at: datetime | None = None) -> tuple[Key, str]:
    """A new key and its secret, which is nowhere else."""
    secret = f"hone-{secrets.token_urlsafe(32)}"
    key = Key(id=ids.new("key_"), owner=owner, role=role, secret_hash=digest(secret), expires_at=expires_at)
    session.add(key)
    session.flush()
    return key, secret


def find(session: Session, secret: str) -> Key | None:
    """The living key with this secret."""
    alive = or_(Key.expires_at.is_(None), Key.expires_at > func.now())
    return session.scalar(select(Key).where(Key.secret_hash == digest(secret), Key.revoked_at.is_(None), alive))


def add_link(session: Session, owner: str, role: str, expires_at: datetime) -> str:
    """A token that opens the page once."""
    token = secrets.token_urlsafe(24)
    session.add(LoginLink(token_hash=digest(token), owner=owner, role=role, expires_at=expires_at))
    return token


def spend_link(session: Session, token: str, now: datetime, valid_for: timedelta) -> tuple[Key, str] | None:
    """Change a token into a key; the second try finds nothing."""
    spent = delete(LoginLink).where(LoginLink.token_hash == digest(token), LoginLink.expires_at > now)
    link = session.execute(spent.returning(LoginLink.owner, LoginLink.role)).first()
    return add(session, link.owner, link.role, now + valid_for) if link else None
