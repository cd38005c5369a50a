"""The line of queued jobs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.schemas.page import Read


class Room(BaseModel):
    """Of workers that live and may claim."""

    free: int
    all: int


class QueuedRead(Read):
    """A queued job and its place in the line."""

    id: str
    name: str | None
    owner: str
    algorithm: str
    priority: int
    gpus: int
    created_at: datetime
    position: int = Field(description="1: claimed next, if nothing changed")
    waits_for: Literal["worker", "parent", "backoff", "limit", "capacity"] = Field(
        description="a free worker; a job that must succeed first; its next try; its key's limit; a larger worker"
    )
    why: str
    estimated_start_at: datetime | None = Field(
        description="from what runs and how long jobs of the algorithm took lately; null: unknown"
    )


class QueueRead(BaseModel):
    """Queued jobs in the order in which they would be claimed; `data` holds those that the key may see."""

    object: Literal["queue"] = "queue"
    running: int = Field(description="jobs that a worker holds")
    queued: int
    paused: int
    slots: Room
    gpus: Room
    data: list[QueuedRead]
    has_more: bool = Field(description="ask for the next with `after=` the last position")
