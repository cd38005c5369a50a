"""Events."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class EventRead(BaseModel):
    """One entry of a job's ordered sequence."""

    object: Literal["event"] = "event"
    seq: int
    kind: Literal["status", "metrics", "log", "loaded", "preview", "sample", "checkpoint", "note"]
    attempt: int
    step: int | None
    created_at: datetime
    data: dict[str, Any]
