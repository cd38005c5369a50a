"""Events."""

from datetime import datetime
from typing import Any, Literal

from service.schemas.page import Read


class EventRead(Read):
    """One entry of a job's ordered sequence."""

    object: Literal["event"] = "event"
    seq: int
    kind: Literal["status", "metrics", "log", "preview", "sample", "checkpoint"]
    attempt: int
    step: int | None
    created_at: datetime
    data: dict[str, Any]
