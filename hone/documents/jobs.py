"""Jobs."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from hone.documents.health_notes import HealthNote
from hone.documents.queue import WaitsFor
from hone.documents.status import Failure, JobStatus, Progress
from hone.documents.validation import Strict, Tags, refusal


class JobSummary(BaseModel):
    """The current state of a job, as lists show it: without its spec."""

    object: Literal["job"] = "job"
    id: str
    name: str | None
    owner: str
    status: JobStatus
    algorithm: str
    model: str
    spec_version: int = Field(1, description="version of the spec's fields; a newer one may need a newer worker")
    tags: dict[str, str]
    priority: int
    version: int = Field(description="sequence number of the job's last event; it grows with every change")
    attempt: int = Field(description="number of attempts so far")
    restarts: int = Field(description="attempts lost since the last checkpoint; limit: max_restarts")
    ran_seconds: float = Field(description="running time of ended attempts; limit: max_seconds")
    retry_of: str | None = Field(description="the job that this one continues, as its retry or its extension")
    clone_of: str | None = Field(description="the job whose spec this one copied")
    progress: Progress
    metrics: dict[str, float | None] = Field(description="last value of each metric; null if it was not finite")
    health_notes: list[HealthNote] = Field(
        default_factory=list, description="what people should know of the run, oldest first"
    )
    failure: Failure | None
    blocked_by: list[str] = Field(description="jobs that must succeed before this one starts")
    queue_position: int | None = Field(None, description="1: claimed next if nothing changes; null unless queued")
    estimated_start_at: datetime | None = Field(None, description="estimated start of a queued job; null: unknown")
    waits_for: WaitsFor | None = Field(
        None, description="what a queued job waits for; `capacity`: no live worker could ever run it"
    )
    why: str | None = Field(None, description="the same as a sentence")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobRead(JobSummary):
    """The current state of a job."""

    spec: dict[str, Any] = Field(description="the document as it is stored, defaults included")

    @field_validator("spec", mode="before")
    @classmethod
    def _is_a_document(cls, spec: Any) -> Any:
        """Show a damaged spec as it is: it must not prevent the other jobs of a list from being shown."""
        return spec if isinstance(spec, dict) else {"spec": spec}


class JobExtension(Strict):
    """How much longer an ended job trains: so many steps, or so many passes over its rows."""

    steps: int | None = Field(None, ge=1, le=10_000_000, description="further steps")
    epochs: float | None = Field(None, gt=0, le=10_000, description="further passes over the rows")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.steps is None and self.epochs is None:
            raise refusal("steps", "is needed, or epochs: they say how much longer the job trains", None)
        if self.steps is not None and self.epochs is not None:
            message = "says how much longer the job trains, and so does epochs; leave one of them out"
            raise refusal("steps", message, self.steps)
        return self


class JobChange(Strict):
    """Changes of an existing job; fields that are left out stay."""

    name: str | None = Field(None, min_length=1, max_length=200, description="a name for people to read")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first; running jobs are not interrupted")
    tags: Tags = Field(default_factory=dict, max_length=16, description="labels to find the job by")
