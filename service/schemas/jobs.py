"""Jobs."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.domain.jobs import Failure, JobStatus, Progress
from service.domain.specs import JobSpec
from service.domain.strict import Strict
from service.schemas.page import Read


class JobRead(Read):
    """A job as it stands."""

    object: Literal["job"] = "job"
    id: str
    name: str | None
    owner: str
    status: JobStatus
    algorithm: str
    model: str
    spec: JobSpec
    tags: dict[str, str]
    priority: int
    version: int = Field(
        description="grows with everything that happens to the job; the sequence number of its last event"
    )
    attempt: int = Field(description="how often it was started")
    restarts: int = Field(description="how often an attempt was lost since the last checkpoint; limit: max_restarts")
    ran_seconds: float = Field(description="running time of the attempts that have ended; limit: max_seconds")
    retry_of: str | None = Field(description="the job that this one goes on from")
    clone_of: str | None = Field(description="the job whose spec this one was made from")
    progress: Progress
    metrics: dict[str, float | None] = Field(description="the last value of each metric; null where it was not finite")
    failure: Failure | None
    blocked_by: list[str] = Field(description="jobs that must succeed before this one is started")
    queue_position: int | None = Field(None, description="1: claimed next, if nothing changed; null unless queued")
    estimated_start_at: datetime | None = Field(None, description="an estimate for a queued job; null: unknown")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobChange(Strict):
    """What can be changed of a job that is already there; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=200, description="for people")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first; what runs is not interrupted")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="for finding it again")
