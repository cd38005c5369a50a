"""Uploaded files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class FileRead(BaseModel):
    """An uploaded file."""

    object: Literal["file"] = "file"
    id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    rows: int
    columns: list[str]
    shapes: list[str]
    notes: list[str] = Field([], description="what was read otherwise than it stands, and what a job must name")
    status: Literal["processed"] = "processed"
    created_at: datetime
