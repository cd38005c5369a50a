"""Workers."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class WorkerGpu(BaseModel):
    """A GPU of a worker."""

    index: int = Field(description="index of the GPU in nvidia-smi")
    name: str
    memory_bytes: int = Field(description="0: unknown")


class WorkerJob(BaseModel):
    """A job that a worker runs, or ran when it died."""

    id: str
    attempt: int
    since: datetime | None


class WorkerRead(BaseModel):
    """A worker process. One without heartbeats is dead, and is shown for an hour."""

    object: Literal["worker"] = "worker"
    id: str
    host: str
    pid: int
    alive: bool = Field(description="whether it had a recent heartbeat")
    draining: bool = Field(description="whether it finishes its jobs and claims no more")
    slots: int = Field(description="number of jobs that it can run at the same time")
    devices: list[str]
    gpus: list[WorkerGpu] = Field(description="GPUs that it may use")
    memory_bytes: int = Field(description="memory of its host or container; 0: unknown")
    versions: dict[str, str] = Field(description="versions of hone, python, torch and transformers")
    jobs: list[WorkerJob] = Field(description="jobs that it runs; for a dead worker, the last ones")
    started_at: datetime
    beat_at: datetime
