"""Uploaded files."""

from datetime import datetime
from typing import Literal

from service.schemas.page import Read


class FileRead(Read):
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
    status: Literal["processed"] = "processed"
    created_at: datetime
