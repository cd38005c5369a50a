"""Refusals."""

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What was refused, for people and for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorRead(BaseModel):
    """Every error has this shape."""

    error: ErrorBody
