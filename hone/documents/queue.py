"""The queue."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

WaitsFor = Literal["worker", "parent", "backoff", "limit", "capacity"]


class Usage(BaseModel):
    """How many slots or GPUs the live workers that may claim jobs have, and how many of them are free."""

    free: int
    all: int


class QueuedRead(BaseModel):
    """A queued job and its position."""

    id: str
    name: str | None
    owner: str
    algorithm: str
    priority: int
    gpus: int
    created_at: datetime
    position: int = Field(description="1: claimed next if nothing changes")
    waits_for: WaitsFor = Field(
        description="a free worker; a parent job; its next attempt; a limit of its key; a larger worker"
    )
    why: str
    estimated_start_at: datetime | None = Field(
        description="estimated from running jobs and the recent durations of the algorithm; null: unknown"
    )


class QueueRead(BaseModel):
    """Queued jobs in the order in which workers will claim them. `data` has those that the key may see."""

    object: Literal["queue"] = "queue"
    running: int = Field(description="jobs held by a worker")
    queued: int
    paused: int
    slots: Usage
    gpus: Usage
    data: list[QueuedRead]
    has_more: bool = Field(description="ask for the next page with `after=` the last position")
