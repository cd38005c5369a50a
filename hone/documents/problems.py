"""Errors."""

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What went wrong: `message` for people, the other fields for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorRead(BaseModel):
    """Every error has this shape."""

    error: ErrorBody
