"""Keys and login links."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from hone.documents.limits import Limits
from hone.documents.validation import ShortText, Strict


class LoginLinkCreated(BaseModel):
    """A token that opens the page logged in, once."""

    token: str
    expires_at: datetime


class Login(Strict):
    """The token of a login link, to be exchanged for a key."""

    token: ShortText


class KeyCreate(Limits):
    """A key to be created."""

    owner: str = Field(min_length=1, max_length=100, description="the owner whose jobs and files the key can see")
    role: Literal["admin", "member", "viewer"] = Field(
        "member", description="viewer: reads; member: also submits and changes; admin: everything"
    )


class KeyRead(BaseModel):
    """A key without its secret."""

    object: Literal["key"] = "key"
    id: str
    owner: str
    role: str = Field(description="admin, member or viewer")
    max_running: int | None
    max_queued: int | None
    max_gpus: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(KeyRead):
    """A new key. Its secret cannot be shown again."""

    secret: str
