"""Recorded responses."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class SampleRead(BaseModel):
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
