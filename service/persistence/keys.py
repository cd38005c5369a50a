"""API keys and login links. Secrets are random and long, so a plain hash of them is enough."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from hone.documents.limits import Limits
from hone.errors import NotFound
from service.domain import ids
from service.persistence.tables import Key, LoginLink


def digest(secret: str) -> str:
    """The hash of a secret, which is what the database stores."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(
    session: Session, owner: str, role: str, *, expires_at: datetime | None = None, limits: Limits | None = None
) -> tuple[Key, str]:
    """A new key and its secret, which is not stored."""
    secret, limits = f"hone-{secrets.token_urlsafe(32)}", limits or Limits()
    key = Key(
        id=ids.new("key_"),
        owner=owner,
        role=role,
        secret_hash=digest(secret),
        expires_at=expires_at,
        max_running=limits.max_running,
        max_queued=limits.max_queued,
        max_gpus=limits.max_gpus,
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return key, secret


def find(session: Session, secret: str) -> Key | None:
    """The valid key with this secret, or None."""
    alive = or_(Key.expires_at.is_(None), Key.expires_at > func.now())
    return session.scalar(select(Key).where(Key.secret_hash == digest(secret), Key.revoked_at.is_(None), alive))


def valid(session: Session, key_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Owner and role of those keys that are neither revoked nor expired."""
    alive = or_(Key.expires_at.is_(None), Key.expires_at > func.now())
    rows = session.execute(
        select(Key.id, Key.owner, Key.role).where(Key.id.in_(key_ids), Key.revoked_at.is_(None), alive)
    )
    return {row.id: (row.owner, row.role) for row in rows}


def get(session: Session, key_id: str) -> Key:
    """The key with this id, locked, or NotFound."""
    key = session.get(Key, key_id, with_for_update={"key_share": True}, populate_existing=True)
    if key is None:
        raise NotFound(f"no key {key_id}", param="key_id", code="key_not_found")
    return key


def page(session: Session, after: str | None, limit: int) -> list[Key]:
    """All keys, newest first (ids sort by age); `after` is the last one already seen."""
    query = select(Key).order_by(Key.id.desc()).limit(limit)
    return list(session.scalars(query if after is None else query.where(Key.id < after)))


def add_link(session: Session, owner: str, role: str, expires_at: datetime) -> str:
    """A token that opens the page once."""
    token = secrets.token_urlsafe(24)
    session.add(LoginLink(token_hash=digest(token), owner=owner, role=role, expires_at=expires_at))
    return token


def exchange_link(session: Session, token: str, now: datetime, valid_for: timedelta) -> tuple[Key, str] | None:
    """Exchange a token for a key; None if the token was used or has expired."""
    spent = delete(LoginLink).where(LoginLink.token_hash == digest(token), LoginLink.expires_at > now)
    link = session.execute(spent.returning(LoginLink.owner, LoginLink.role)).first()
    return add(session, link.owner, link.role, expires_at=now + valid_for) if link else None
