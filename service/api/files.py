"""Uploads over HTTP: streamed to disk, checked line by line, stored under their hash."""

from pathlib import Path
from typing import Annotated

from fastapi import File, Form, Query, UploadFile

from hone.documents import FileRead, Page
from hone.errors import Invalid
from service.api import uploads
from service.api.cursors import after_id
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.api.routing import Router
from service.domain.rows import FileReport, check
from service.persistence import files, tables
from service.persistence.files import Content

router = Router(prefix="/v1/files", tags=["files"])
SHOWN_PROBLEMS = 5
MAX_NAME = 255


@router.post("", status_code=201)
def upload_file(
    identity: Writer,
    parts: ServicesDep,
    file: Annotated[UploadFile, File(description="JSON Lines, UTF-8")],
    purpose: Annotated[str, Form(max_length=64)] = "fine-tune",
) -> FileRead:
    """Upload rows. A file that cannot be used is refused with the numbers of its bad lines, and is not stored."""
    name = Path(file.filename or "upload.jsonl").name
    if len(name) > MAX_NAME:
        raise Invalid(f"the name of the file has {len(name)} characters; at most {MAX_NAME} are allowed", param="file")
    with uploads.received(file.file, parts.settings.data_dir) as upload:
        report = _checked(upload.path, name)
        key = f"files/{upload.sha256}"
        if not parts.storage.exists(key):
            parts.storage.put(upload.path, key)
    content = Content(upload.size, upload.sha256, report)
    with parts.database.transaction() as session:  # only now: checking and storing may take minutes
        return _document(files.add(session, identity.owner, name, purpose, content))


def _checked(path: Path, name: str) -> FileReport:
    with path.open("rb") as lines:
        report = check(lines)
    if report.problem_count:
        shown = "; ".join(f"line {problem.line}: {problem.message}" for problem in report.problems[:SHOWN_PROBLEMS])
        rest = report.problem_count - SHOWN_PROBLEMS
        more = f"; and {rest} more" if rest > 0 else ""
        raise Invalid(f"{name} cannot be used: {shown}{more}", param="file", code="invalid_file")
    return report


@router.get("")
def list_files(
    identity: Reader,
    session: SessionDep,
    after: Annotated[str | None, after_id("file-")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[FileRead]:
    """List uploaded files, newest first."""
    rows = files.page(session, identity.visible_owner, after, limit + 1)
    return Page.of([_document(row) for row in rows], limit)


@router.get("/{file_id}")
def get_file(file_id: str, identity: Reader, session: SessionDep) -> FileRead:
    """Show an uploaded file: size, hash, rows, columns."""
    return _document(files.get(session, file_id, identity.visible_owner))


def _document(row: tables.File) -> FileRead:
    return FileRead(
        id=row.id,
        filename=row.filename,
        purpose=row.purpose,
        bytes=row.bytes,
        sha256=row.sha256,
        rows=row.rows,
        columns=row.columns,
        shapes=row.shapes,
        notes=row.notes,
        created_at=row.created_at,
    )
