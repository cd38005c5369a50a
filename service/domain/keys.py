"""What an API key may be limited to."""

from pydantic import Field

from service.domain.strict import Strict


class Limits(Strict):
    """Of the jobs that are submitted with a key, all of them together; null: no limit."""

    max_running: int | None = Field(None, ge=1, le=1_000_000, description="jobs that run at the same time")
    max_queued: int | None = Field(None, ge=1, le=1_000_000, description="jobs that wait")
    max_gpus: int | None = Field(None, ge=0, le=1_000_000, description="GPUs that running jobs hold")
