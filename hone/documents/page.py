"""Pages of lists, and the answer to a deletion."""

from collections.abc import Sequence
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list. While `has_more`, ask for the next page with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | int | None = None
    last_id: str | int | None = None

    @classmethod
    def of(cls, rows: Sequence[T], limit: int, cursor: str = "id") -> Self:
        """A page of the first `limit` rows; a further row means `has_more`. `cursor` is the field for `after`."""
        shown = list(rows[:limit])
        ends = (getattr(shown[0], cursor), getattr(shown[-1], cursor)) if shown else (None, None)
        return cls(data=shown, has_more=len(rows) > limit, first_id=ends[0], last_id=ends[1])


class Deleted(BaseModel):
    """A deleted object."""

    id: str
    object: str
    deleted: Literal[True] = True
