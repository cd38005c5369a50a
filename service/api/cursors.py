"""Cursors of lists. An id sorts by its age, so it marks a place also after its row is gone."""

from typing import Any

from fastapi import Query

from service.domain.ids import AGE


def after_id(prefix: str) -> Any:
    """The query parameter `after` of a list of ids with a prefix; anything else is refused."""
    return Query(pattern=f"^{prefix}{AGE}$", description="the last id already seen; its row may be gone meanwhile")
