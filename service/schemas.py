"""What the API answers, as documents. Requests are `service.domain.specs`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.domain.jobs import Failure, JobStatus, Progress
from service.domain.specs import JobSpec
from service.domain.strict import Strict

T = TypeVar("T")


class Read(BaseModel):
    """A row, read by attribute."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """One page of a list; ask for the next with `after=last_id` while `has_more`."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | int | None = None
    last_id: str | int | None = None

    @classmethod
    def of(cls, found: Sequence[T], limit: int, cursor: str = "id") -> Self:
        """A page of `limit` from rows of which one more was asked for; `cursor` is the field that `after` takes."""
        shown = list(found[:limit])
        ends = (getattr(shown[0], cursor), getattr(shown[-1], cursor)) if shown else (None, None)
        return cls(data=shown, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])


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
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobChange(Strict):
    """What can be changed of a job that is already there; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=200, description="for people")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first; what runs is not interrupted")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="for finding it again")


class EventRead(Read):
    """One entry of a job's ordered sequence."""

    object: Literal["event"] = "event"
    seq: int
    kind: Literal["status", "metrics", "log", "preview", "sample", "checkpoint"]
    attempt: int
    step: int | None
    created_at: datetime
    data: dict[str, Any]


class SampleRead(Read):
    """One recorded response."""

    object: Literal["sample"] = "sample"
    id: int
    job_id: str
    step: int
    split: Literal["train", "eval"]
    prompt: str
    response: str
    answer: str | None
    reward: float | None
    rewards: dict[str, float | None]
    tokens: int
    truncated: bool
    created_at: datetime


class CheckpointFile(BaseModel):
    """One file of a checkpoint."""

    name: str
    bytes: int
    sha256: str


class CheckpointRead(Read):
    """A whole checkpoint; its files load with `AutoModelForCausalLM.from_pretrained`."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    job_id: str
    step: int
    attempt: int
    bytes: int
    best: bool = Field(description="whether it is the best by the spec's `checkpoint.keep_best`")
    metrics: dict[str, float | None]
    files: list[CheckpointFile]
    created_at: datetime


class Series(BaseModel):
    """One metric over the steps; `steps` and `values` have the same length. A value that was not finite is null."""

    name: str
    steps: list[int]
    values: list[float | None]
    times: list[float] = Field(description="seconds since the epoch")


class MetricsRead(BaseModel):
    """The metrics of a job."""

    object: Literal["metrics"] = "metrics"
    job_id: str
    series: list[Series]


class FileRead(Read):
    """An uploaded file."""

    object: Literal["file"] = "file"
    id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    rows: int
    columns: list[str]
    shapes: list[str]
    status: Literal["processed"] = "processed"
    created_at: datetime


class LoginLink(BaseModel):
    """A token that opens the page once."""

    token: str
    expires_at: datetime


class Login(Strict):
    """The token of a login link, spent."""

    token: str


class KeyCreate(Strict):
    """A wish for a key."""

    owner: str = Field(min_length=1, max_length=100, description="whose jobs and files it sees")
    role: Literal["admin", "member", "viewer"] = Field("member", description="a viewer only looks")


class KeyCreated(BaseModel):
    """A key; its secret is shown this once."""

    id: str
    owner: str
    role: str = Field(description="admin, member or viewer")
    secret: str
    expires_at: datetime | None


class StageRead(Read):
    """One job of a recipe of several; it starts from the model of an earlier one."""

    title: str
    fields: dict[str, Any]


class PresetRead(Read):
    """A named set of spec fields: `algorithm: {preset: NAME}` stands for them, and what the spec has itself wins."""

    object: Literal["preset"] = "preset"
    name: str
    algorithm: str = Field(description="the type of the algorithm that it sets up")
    title: str
    source: str = Field(description="the paper or the configuration that the values are from")
    notes: str = Field(description="what differs from the source, and what you must add")
    fields: dict[str, Any] = Field(description="a part of a spec")
    stages: list[StageRead] = Field(description="the whole recipe, where this is one of its stages")


class WorkerRead(Read):
    """A worker that has beaten lately."""

    object: Literal["worker"] = "worker"
    id: str
    host: str
    pid: int
    slots: int
    devices: list[str]
    jobs: list[str]
    started_at: datetime
    beat_at: datetime


class Readiness(BaseModel):
    """Whether the parts that the service needs answer."""

    status: Literal["ready", "degraded", "unavailable"]
    database: bool
    broker: bool
    workers: int = Field(description="how many have beaten lately")
    oldest_queued_seconds: float | None


class ErrorBody(BaseModel):
    """What was refused, for people and for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorRead(BaseModel):
    """Every error has this shape."""

    error: ErrorBody
