"""Checkpoints over HTTP: listed, downloaded whole or by file, kept for good, deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, StreamingResponse

from service import commands
from service.api.archive import tar
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.domain.errors import NotFound
from service.persistence import checkpoints, jobs
from service.schemas import CheckpointFile, CheckpointRead, Page

router = APIRouter(prefix="/v1", tags=["checkpoints"])
TRAINER_ONLY = ("trainer.pt", "critic.safetensors", "manifest.json")


@router.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(job_id: str, identity: Reader, session: SessionDep) -> Page[CheckpointRead]:
    """A job's checkpoints, newest first."""
    jobs.get(session, job_id, identity.sees)
    shown = [CheckpointRead.model_validate(row) for row in checkpoints.of_job(session, job_id)]
    return Page.of(shown, len(shown))


@router.get("/checkpoints/{checkpoint_id}")
def get_checkpoint(checkpoint_id: str, identity: Reader, session: SessionDep) -> CheckpointRead:
    """A checkpoint and its files, each with its hash."""
    return CheckpointRead.model_validate(checkpoints.get(session, checkpoint_id, identity.sees))


@router.post("/checkpoints/{checkpoint_id}/promote")
def promote_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> CheckpointRead:
    """Keep it until it is demoted, whatever `checkpoint.keep_last` of its job says."""
    return CheckpointRead.model_validate(commands.promote(session, identity.sees, checkpoint_id, promoted=True))


@router.post("/checkpoints/{checkpoint_id}/demote")
def demote_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> CheckpointRead:
    """Treat it as any other again."""
    return CheckpointRead.model_validate(commands.promote(session, identity.sees, checkpoint_id, promoted=False))


@router.delete("/checkpoints/{checkpoint_id}", status_code=204)
def delete_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> None:
    """Delete it, unless it is promoted or a job that has not ended needs it."""
    commands.delete_checkpoint(session, identity.sees, checkpoint_id)


@router.get("/checkpoints/{checkpoint_id}/files/{name:path}", response_class=FileResponse)
def download_file(checkpoint_id: str, name: str, identity: Reader, parts: ServicesDep) -> FileResponse:
    """One file; `Range` is understood."""
    with parts.database.transaction() as session:  # over before the file is fetched, which may take minutes
        row = checkpoints.get(session, checkpoint_id, identity.sees)
    if name not in {file["name"] for file in row.files}:
        raise NotFound(f"checkpoint {checkpoint_id} has no file {name}", param="name", code="file_not_found")
    try:
        path = parts.storage.local(f"{row.storage_key}/{name}")
    except FileNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise NotFound(f"{name} of checkpoint {checkpoint_id} is missing in the storage", code="file_missing")
    return FileResponse(path, filename=name.rsplit("/", 1)[-1])


@router.get("/checkpoints/{checkpoint_id}/archive", response_class=StreamingResponse)
def download_archive(
    checkpoint_id: str,
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    everything: Annotated[bool, Query(description="also the optimizer's and the critic's state")] = False,
) -> StreamingResponse:
    """A tar of the model's files, ready for `from_pretrained` once unpacked."""
    row = checkpoints.get(session, checkpoint_id, identity.sees)
    files = [CheckpointFile.model_validate(file) for file in row.files]
    wanted = [file for file in files if everything or file.name not in TRAINER_ONLY]
    name = f"{row.job_id}-step-{row.step}"
    return StreamingResponse(
        tar(parts.storage, row.storage_key, name, wanted, row.created_at.timestamp()),
        media_type="application/x-tar",
        headers={"content-disposition": f'attachment; filename="{name}.tar"'},
    )
