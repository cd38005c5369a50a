"""Checkpoints over HTTP: list, show, download, promote, delete."""

from typing import Annotated

from fastapi import Query
from fastapi.responses import FileResponse, StreamingResponse

from hone.documents import CheckpointFile, CheckpointRead, Page
from hone.documents.checkpoints import exported
from hone.errors import NotFound
from service import commands
from service.api.answers import refusals
from service.api.archive import tar
from service.api.dependencies import Reader, ServicesDep, SessionDep, Writer
from service.api.routing import Router
from service.persistence import checkpoints, jobs
from service.persistence.tables import Checkpoint

router = Router(prefix="/v1", tags=["checkpoints"])


@router.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(job_id: str, identity: Reader, session: SessionDep) -> Page[CheckpointRead]:
    """List a job's checkpoints, newest first."""
    jobs.get(session, job_id, identity.visible_owner)
    shown = [_document(row) for row in checkpoints.of_job(session, job_id)]
    return Page.of(shown, len(shown))


@router.get("/checkpoints/{checkpoint_id}")
def get_checkpoint(checkpoint_id: str, identity: Reader, session: SessionDep) -> CheckpointRead:
    """Show a checkpoint and its files with their hashes."""
    return _document(checkpoints.get(session, checkpoint_id, identity.visible_owner))


@router.post("/checkpoints/{checkpoint_id}/promote")
def promote_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> CheckpointRead:
    """Retain a checkpoint until it is demoted, whatever `checkpoint.keep_last` of its job says."""
    return _document(commands.promote(session, identity.visible_owner, checkpoint_id, promoted=True))


@router.post("/checkpoints/{checkpoint_id}/demote")
def demote_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> CheckpointRead:
    """Undo a promotion: the checkpoint is retained or deleted by the rules of its job again."""
    return _document(commands.promote(session, identity.visible_owner, checkpoint_id, promoted=False))


@router.delete("/checkpoints/{checkpoint_id}", status_code=204, responses=refusals(409))
def delete_checkpoint(checkpoint_id: str, identity: Writer, session: SessionDep) -> None:
    """Delete a checkpoint. 409 if it is promoted or an unfinished job needs it."""
    commands.delete_checkpoint(session, identity.visible_owner, checkpoint_id)


@router.get(
    "/checkpoints/{checkpoint_id}/files/{name:path}",
    response_class=FileResponse,
    responses={206: {"description": "A part of the file"}, **refusals(400, 416, 507)},
)
def download_file(checkpoint_id: str, name: str, identity: Reader, parts: ServicesDep) -> FileResponse:
    """Download one file; `Range` is supported."""
    with parts.database.transaction() as session:  # it ends before the file is fetched, which may take minutes
        row = checkpoints.get(session, checkpoint_id, identity.visible_owner)
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
    everything: Annotated[bool, Query(description="include the state of the training")] = False,  # noqa: FBT002 - a query parameter
) -> StreamingResponse:
    """Download the model's files as a tar; unpacked, they load with `from_pretrained`."""
    row = checkpoints.get(session, checkpoint_id, identity.visible_owner)
    files = _document(row).files
    included = files if everything else exported(files)
    name = f"{row.job_id}-step-{row.step}"
    return StreamingResponse(
        tar(parts.storage, row.storage_key, name, included, row.created_at.timestamp()),
        media_type="application/x-tar",
        headers={"content-disposition": f'attachment; filename="{name}.tar"'},
    )


def _document(row: Checkpoint) -> CheckpointRead:
    files = [CheckpointFile.model_validate(file) for file in row.files]
    return CheckpointRead(
        id=row.id,
        job_id=row.job_id,
        step=row.step,
        attempt=row.attempt,
        bytes=row.bytes,
        export_bytes=sum(file.bytes for file in exported(files)),
        best=row.best,
        promoted=row.promoted,
        damaged=row.damaged,
        metrics=row.metrics,
        files=files,
        created_at=row.created_at,
    )
