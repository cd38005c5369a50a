"""Uploads: streamed to disk, checked line by line, kept under their hash."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile

from service.api import uploads
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.domain.errors import Invalid
from service.domain.rows import FileReport, check
from service.persistence import files
from service.schemas import FileRead, Page

router = APIRouter(prefix="/v1/files", tags=["files"])
TOLD = 5


@router.post("", status_code=201)
def upload_file(
    identity: Writer,
    session: SessionDep,
    parts: ServicesDep,
    file: Annotated[UploadFile, File(description="JSON Lines, UTF-8")],
    purpose: Annotated[str, Form(max_length=64)] = "fine-tune",
) -> FileRead:
    """Upload rows. A file that cannot be used is refused with the numbers of its bad lines, and nothing is kept."""
    name = Path(file.filename or "upload.jsonl").name
    with uploads.received(file.file, parts.settings.data_dir) as upload:
        report = _checked(upload.path, name)
        key = f"files/{upload.sha256}"
        if not parts.storage.exists(key):
            parts.storage.put(upload.path, key)
    return FileRead.model_validate(
        files.add(session, identity.owner, name, purpose, upload.size, upload.sha256, report)
    )


def _checked(path: Path, name: str) -> FileReport:
    with path.open("rb") as lines:
        report = check(lines)
    if report.problem_count:
        told = "; ".join(f"line {problem.line}: {problem.message}" for problem in report.problems[:TOLD])
        more = f"; and {report.problem_count - TOLD} more" if report.problem_count > TOLD else ""
        raise Invalid(f"{name} cannot be used: {told}{more}", param="file", code="invalid_file")
    return report


@router.get("")
def list_files(
    identity: Reader,
    session: SessionDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[FileRead]:
    """Uploaded files, newest first."""
    found = files.page(session, identity.sees, after, limit + 1)
    return Page.of([FileRead.model_validate(row) for row in found], limit)


@router.get("/{file_id}")
def get_file(file_id: str, identity: Reader, session: SessionDep) -> FileRead:
    """An uploaded file's size, hash, rows and columns."""
    return FileRead.model_validate(files.get(session, file_id, identity.sees))
