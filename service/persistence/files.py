"""Uploaded files; their bytes are in the storage under their hash."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from hone.errors import NotFound
from service.domain import ids
from service.domain.rows import FileReport
from service.persistence.tables import File


@dataclass(frozen=True)
class Content:
    """What an uploaded file holds."""

    bytes: int
    sha256: str
    report: FileReport


def add(session: Session, owner: str, filename: str, purpose: str, content: Content) -> File:
    """Record a file whose bytes are stored and whose rows were checked."""
    row = File(
        id=ids.new("file-"),
        owner=owner,
        filename=filename,
        purpose=purpose,
        bytes=content.bytes,
        sha256=content.sha256,
        rows=content.report.rows,
        columns=list(content.report.columns),
        shapes=list(content.report.shapes),
        notes=list(content.report.notes),
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get(session: Session, file_id: str, owner: str | None) -> File:
    """The file, if `owner` may see it, or NotFound."""
    row = session.get(File, file_id)
    if row is None or owner not in (None, row.owner):
        raise NotFound(f"no file {file_id}", param="file_id", code="file_not_found")
    return row


def page(session: Session, owner: str | None, after: str | None, limit: int) -> list[File]:
    """Newest first (ids sort by age); `after` is the last one already seen."""
    query = select(File).order_by(File.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(File.owner == owner)
    if after is not None:
        query = query.where(File.id < after)
    return list(session.scalars(query))
