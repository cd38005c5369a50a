"""Metrics."""

from typing import Literal

from pydantic import BaseModel, Field

MOST_POINTS = 100_000
"""Of one answer: 4 MB."""


class Series(BaseModel):
    """One metric by step. `steps`, `values` and `times` have the same length; a value that was not finite is null."""

    name: str
    steps: list[int]
    values: list[float | None]
    times: list[float] = Field(description="seconds since the epoch")


class MetricsRead(BaseModel):
    """The metrics of a job."""

    object: Literal["metrics"] = "metrics"
    job_id: str
    series: list[Series]
    next: str | None = Field(None, description="where the next answer begins, for `after`; null after the last point")
