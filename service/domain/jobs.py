"""The life of a job: statuses, events, and the table of moves."""

from enum import StrEnum

from hone.documents.status import FailureCategory, JobStatus
from hone.errors import IllegalMove

STATUS_MEANINGS: dict[JobStatus, str] = {
    JobStatus.QUEUED: "it waits for a worker, for a parent job or for its next attempt",
    JobStatus.RUNNING: "a worker has claimed it: an attempt has begun",
    JobStatus.PAUSING: "it was asked to pause; the trainer ends its step and saves",
    JobStatus.PAUSED: "its state is saved and its device is free; `resume` puts it back into the queue",
    JobStatus.CANCELLING: "it was asked to stop; the trainer ends within a step",
    JobStatus.SUCCEEDED: "all steps are done, or early stopping ended it",
    JobStatus.FAILED: "it ended with an error: `failure` has its category, message and hint",
    JobStatus.CANCELLED: "it was stopped on request; its last checkpoint stays",
}


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


EVENT_MEANINGS: dict[JobEvent, str] = {
    JobEvent.CLAIM: "a worker takes the job and its lease",
    JobEvent.FINISH: "the trainer has done all steps, perhaps just before it read a request to stop",
    JobEvent.FAIL: "the trainer reported an error, a limit was reached, or a parent job did not succeed",
    JobEvent.LOSE: "the worker or the trainer died, or the lease expired",
    JobEvent.RELEASE: "the worker hands the job back: it shuts down, or the storage does not answer",
    JobEvent.PAUSE: "a user asks the job to pause",
    JobEvent.RESUME: "a user puts a paused job back into the queue",
    JobEvent.CANCEL: "a user asks the job to stop",
    JobEvent.STOP: "the trainer has stopped as requested",
}


S, E = JobStatus, JobEvent
MOVES: dict[tuple[JobStatus, JobEvent], JobStatus] = {
    (S.QUEUED, E.CLAIM): S.RUNNING,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.PAUSE): S.PAUSED,
    (S.QUEUED, E.FAIL): S.FAILED,  # a job that it depends on did not succeed, or its spec cannot be read
    (S.RUNNING, E.FINISH): S.SUCCEEDED,
    (S.RUNNING, E.FAIL): S.FAILED,
    (S.RUNNING, E.LOSE): S.QUEUED,  # its worker or trainer died; anyone may claim it again
    (S.RUNNING, E.RELEASE): S.QUEUED,  # its worker shuts down, or the storage does not answer
    (S.RUNNING, E.PAUSE): S.PAUSING,  # a request: the step ends, its state is saved, the device is freed
    (S.PAUSING, E.STOP): S.PAUSED,
    (S.PAUSING, E.LOSE): S.PAUSED,  # it can continue from its last checkpoint
    (S.PAUSING, E.RELEASE): S.PAUSED,
    (S.PAUSING, E.FINISH): S.SUCCEEDED,  # it was done before it read the request
    (S.PAUSING, E.FAIL): S.FAILED,
    (S.PAUSING, E.CANCEL): S.CANCELLING,
    (S.PAUSED, E.RESUME): S.QUEUED,
    (S.PAUSED, E.CANCEL): S.CANCELLED,
    (S.RUNNING, E.CANCEL): S.CANCELLING,  # a request: the loop stops at its next step
    (S.CANCELLING, E.STOP): S.CANCELLED,
    (S.CANCELLING, E.LOSE): S.CANCELLED,
    (S.CANCELLING, E.RELEASE): S.CANCELLED,
    (S.CANCELLING, E.FINISH): S.SUCCEEDED,  # it was done before it read the request
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


FAILURE_MEANINGS: dict[FailureCategory, str] = {
    "user": "the spec, the model or the data cannot be used, or the trainer raised an error",
    "oom": "out of memory, even with the smallest pieces of a batch",
    "nan": "a loss or gradient was NaN or infinite",
    "timeout": "the job exceeded `max_seconds`",
    "lost": "its worker or trainer died more often than `max_restarts` allows",
    "infra": "a worker's disk failed more often than `max_restarts` allows, or the stored spec is unreadable",
}
