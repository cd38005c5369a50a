"""Uploads: streamed to disk, checked line by line, kept under their hash."""

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile

from service.api.dependencies import Reader, Services, ServicesDep, SessionDep, Writer
from service.domain.errors import Invalid
from service.domain.rows import FileReport, check
from service.persistence import files
from service.schemas import FileRead, Page

router = APIRouter(prefix="/v1/files", tags=["files"])
CHUNK = 1 << 20
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
    path, size, sha256 = _receive(file, parts)
    try:
        report = _checked(path, name)
        key = f"files/{sha256}"
        if not parts.storage.exists(key):
            parts.storage.put(path, key)
    finally:
        path.unlink(missing_ok=True)
    return FileRead.model_validate(files.add(session, identity.owner, name, purpose, size, sha256, report))


def _receive(file: UploadFile, parts: Services) -> tuple[Path, int, str]:
    """The upload on disk, its size and its hash."""
    folder = parts.settings.data_dir / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        try:
            while chunk := file.file.read(CHUNK):
                digest.update(chunk)
                size += copy.write(chunk)
        except OSError:
            Path(copy.name).unlink()
            raise
    return Path(copy.name), size, digest.hexdigest()


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
