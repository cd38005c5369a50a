"""Keys and login links."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.domain.keys import Limits
from service.domain.strict import Strict
from service.schemas.page import Read


class LoginLink(BaseModel):
    """A token that opens the page once."""

    token: str
    expires_at: datetime


class Login(Strict):
    """The token of a login link, spent."""

    token: str


class KeyCreate(Limits):
    """A wish for a key."""

    owner: str = Field(min_length=1, max_length=100, description="whose jobs and files it sees")
    role: Literal["admin", "member", "viewer"] = Field("member", description="a viewer only looks")


class KeyRead(Read):
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
    """A key; its secret is shown this once."""

    secret: str
