"""Workers."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas.page import Read


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
