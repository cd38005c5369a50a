"""The life of a job: its states, what may happen to it, and where that leads."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

from service.domain.errors import IllegalMove


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    FINISH = "finish"
    FAIL = "fail"
    LOSE = "lose"
    RELEASE = "release"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    STOP = "stop"


S, E = JobStatus, JobEvent
MOVES: dict[tuple[JobStatus, JobEvent], JobStatus] = {
    (S.QUEUED, E.CLAIM): S.RUNNING,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.PAUSE): S.PAUSED,
    (S.QUEUED, E.FAIL): S.FAILED,  # a job that it depends on did not succeed
    (S.RUNNING, E.FINISH): S.SUCCEEDED,
    (S.RUNNING, E.FAIL): S.FAILED,
    (S.RUNNING, E.LOSE): S.QUEUED,  # its worker or trainer died; anyone may claim it again
    (S.RUNNING, E.RELEASE): S.QUEUED,  # its worker is shutting down and hands it back
    (S.RUNNING, E.PAUSE): S.PAUSING,  # asked; the step ends, its state is saved, the device is freed
    (S.PAUSING, E.STOP): S.PAUSED,
    (S.PAUSING, E.LOSE): S.PAUSED,  # from its last checkpoint it goes on just as well
    (S.PAUSING, E.RELEASE): S.PAUSED,
    (S.PAUSING, E.FINISH): S.SUCCEEDED,  # it was done before it heard
    (S.PAUSING, E.FAIL): S.FAILED,
    (S.PAUSING, E.CANCEL): S.CANCELLING,
    (S.PAUSED, E.RESUME): S.QUEUED,
    (S.PAUSED, E.CANCEL): S.CANCELLED,
    (S.RUNNING, E.CANCEL): S.CANCELLING,  # asked; the loop stops at its next step
    (S.CANCELLING, E.STOP): S.CANCELLED,
    (S.CANCELLING, E.LOSE): S.CANCELLED,
    (S.CANCELLING, E.RELEASE): S.CANCELLED,
    (S.CANCELLING, E.FINISH): S.SUCCEEDED,  # it was done before it heard
    (S.CANCELLING, E.FAIL): S.FAILED,
}
TERMINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
HELD = frozenset({S.RUNNING, S.PAUSING, S.CANCELLING})  # a worker holds the lease


def after(status: JobStatus, event: JobEvent) -> JobStatus:
    """The status that `event` leads to, or IllegalMove."""
    try:
        return MOVES[status, event]
    except KeyError:
        raise IllegalMove(f"cannot {event} a {status} job") from None


FailureCategory = Literal["user", "oom", "nan", "timeout", "lost", "infra"]


class Failure(BaseModel):
    """Why a job ended badly, and what its owner can do about it."""

    category: FailureCategory
    message: str
    hint: str | None = None
    detail: str | None = None


class Progress(BaseModel):
    """How far a job has come."""

    step: int = 0
    total_steps: int
    percent: float = 0.0
    phase: str = "queued"
    eta_seconds: float | None = None
    tokens_per_second: float | None = None
