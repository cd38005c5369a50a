"""What an API key may be limited to."""

from pydantic import Field

from hone.documents.validation import Strict


class Limits(Strict):
    """Limits on all jobs that are submitted with a key, together; null: no limit."""

    max_running: int | None = Field(None, ge=1, le=1_000_000, description="jobs running at the same time")
    max_queued: int | None = Field(None, ge=1, le=1_000_000, description="queued jobs")
    max_gpus: int | None = Field(None, ge=0, le=1_000_000, description="GPUs held by running jobs")
