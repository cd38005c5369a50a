"""What the API answers, as documents. Requests are `service.domain.specs`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, computed_field

from service.domain.jobs import Failure, JobStatus, Progress
from service.domain.keys import Limits
from service.domain.specs import JobSpec
from service.domain.strict import Strict
from service.domain.webhooks import ENDS, WebhookEvent

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


class KeyCreate(Limits):
    """A wish for a key."""

    owner: str = Field(min_length=1, max_length=100, description="whose jobs and files it sees")
    role: Literal["admin", "member", "viewer"] = Field("member", description="a viewer only looks")


class KeyRead(Read):
    """A key without its secret."""

    object: Literal["key"] = "key"
    id: str
    owner: str
    role: str = Field(description="admin, member or viewer")
    max_running: int | None
    max_queued: int | None
    max_gpus: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(KeyRead):
    """A key; its secret is shown this once."""

    secret: str


class Deleted(BaseModel):
    """What is no more."""

    id: str
    object: str
    deleted: Literal[True] = True


class WebhookCreate(Strict):
    """A wish to be told."""

    url: str = Field(max_length=2000, description="http or https; redirects are not followed")
    events: list[WebhookEvent] = Field(list(ENDS), min_length=1, description="of what it is told")


class WebhookChange(Strict):
    """What is to be changed of a webhook; null: nothing."""

    url: str | None = Field(None, max_length=2000)
    events: list[WebhookEvent] | None = Field(None, min_length=1)
    enabled: bool | None = Field(None, description="false: nothing is sent to it, and nothing new kept for it")


class WebhookRead(Read):
    """An address that hears of its owner's jobs."""

    object: Literal["webhook"] = "webhook"
    id: str
    owner: str
    url: str
    events: list[str]
    enabled: bool = Field(description="false also after it has answered 410 Gone")
    created_at: datetime


class WebhookCreated(WebhookRead):
    """A webhook; its secret is shown this once."""

    secret: str = Field(description="whsec_...: receivers verify with it that a message comes from here")


class DeliveryRead(Read):
    """One message for one webhook."""

    object: Literal["delivery"] = "delivery"
    id: str = Field(description="the header webhook-id: the same each time that the message is sent")
    webhook_id: str
    type: str
    job_id: str | None
    payload: dict[str, Any]
    attempts: int
    next_at: datetime | None = Field(description="when it is tried next; while it is being sent, when it is given up")
    delivered_at: datetime | None
    status_code: int | None = Field(description="of the last answer")
    error: str | None = Field(description="why the last attempt counts as failed")
    created_at: datetime

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def status(self) -> Literal["pending", "delivered", "failed"]:
        """Failed: it is not tried again."""
        if self.next_at is not None:
            return "pending"
        return "delivered" if self.delivered_at is not None else "failed"


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


class Gpu(Read):
    """A GPU of a worker."""

    index: int = Field(description="as nvidia-smi counts")
    name: str
    memory_bytes: int = Field(description="0: unknown")


class WorkerJob(Read):
    """A job that a worker runs, or ran when it died."""

    id: str
    attempt: int
    since: datetime | None


class WorkerRead(Read):
    """A worker process. One that fell silent is dead, and is shown for an hour."""

    object: Literal["worker"] = "worker"
    id: str
    host: str
    pid: int
    alive: bool = Field(description="whether it has beaten lately")
    draining: bool = Field(description="whether it finishes what it runs and claims nothing")
    slots: int = Field(description="jobs that it runs at the same time")
    devices: list[str]
    gpus: list[Gpu] = Field(description="those that it may use")
    memory_bytes: int = Field(description="of its host, or of its container; 0: unknown")
    versions: dict[str, str] = Field(description="of hone, python, torch and transformers")
    jobs: list[WorkerJob] = Field(description="what it runs; of a dead one, what it ran last")
    started_at: datetime
    beat_at: datetime


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
