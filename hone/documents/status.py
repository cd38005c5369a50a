"""Parts of the API's documents: the status of a job, its progress, and why it failed."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field


class JobStatus(StrEnum):
    """The status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FailureCategory = Literal["user", "oom", "nan", "timeout", "lost", "infra"]


class Failure(BaseModel):
    """Why a job failed, and what its owner can do."""

    category: FailureCategory
    message: str
    hint: str | None = None
    detail: str | None = None


class Progress(BaseModel):
    """How far a job has come."""

    step: int = 0
    total_steps: int | None = Field(None, description="null until the steps of a job with `epochs` are counted")
    steps_per_epoch: float | None = Field(None, description="batches in a pass over the rows; null before the start")
    percent: float = 0.0
    phase: str = "queued"
    eta_seconds: float | None = None
    tokens_per_second: float | None = None
