"""Readiness."""

from typing import Literal

from pydantic import BaseModel, Field


class Readiness(BaseModel):
    """Whether the parts that the service needs answer."""

    status: Literal["ready", "degraded", "unavailable"]
    database: bool
    broker: bool
    workers: int = Field(description="how many have beaten lately")
    oldest_queued_seconds: float | None
