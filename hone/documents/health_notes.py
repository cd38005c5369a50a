"""Health notes: what people should know of a job that goes on."""

from typing import Literal

from pydantic import BaseModel, Field

Severity = Literal["info", "warning", "critical"]


class HealthNote(BaseModel):
    """One thing that people should know of a job: for programs a code, for people a sentence and what to do."""

    code: str = Field(description="what it is about, from the table of docs/health-notes.md")
    severity: Severity = Field(description="critical: the job most likely trains on nothing useful")
    param: str | None = Field(None, description="the field of the spec, or the metric, that it is about")
    message: str = Field(description="what is so")
    remedy: str | None = Field(None, description="what to do about it")
    first_step: int = Field(description="the first step that it was seen at; 0: before the first step")
    last_step: int = Field(description="the last step that it was seen at")
