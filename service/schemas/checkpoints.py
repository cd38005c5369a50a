"""Checkpoints and their files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.schemas.page import Read


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
    promoted: bool = Field(description="whether it is kept until it is demoted")
    damaged: bool = Field(description="whether its files were found not to be what was written; no job starts from it")
    metrics: dict[str, float | None]
    files: list[CheckpointFile]
    created_at: datetime
