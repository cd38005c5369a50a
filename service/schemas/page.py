"""What all answers are made of: rows read by attribute, and lists of them by the page."""

from collections.abc import Sequence
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Read(BaseModel):
    """A row, read by attribute."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """One page of a list; ask for the next with `after=last_id` while `has_more`."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | int | None = None
    last_id: str | int | None = None

    @classmethod
    def of(cls, found: Sequence[T], limit: int, cursor: str = "id") -> Self:
        """A page of `limit` from rows of which one more was asked for; `cursor` is the field that `after` takes."""
        shown = list(found[:limit])
        ends = (getattr(shown[0], cursor), getattr(shown[-1], cursor)) if shown else (None, None)
        return cls(data=shown, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])


class Deleted(BaseModel):
    """What is no more."""

    id: str
    object: str
    deleted: Literal[True] = True
