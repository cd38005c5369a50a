"""Readiness."""

from typing import Literal

from pydantic import BaseModel, Field


class Readiness(BaseModel):
    """Whether the servers that the API needs answer."""

    status: Literal["ready", "degraded", "unavailable"]
    database: bool
    broker: bool
    storage: bool = Field(True, description="the storage of files and checkpoints answers and can be written to")
    dispatcher: bool = Field(description="a dispatcher leads, and its last round of duties succeeded")
    workers: int = Field(description="workers with a recent heartbeat")
    oldest_queued_seconds: float | None
