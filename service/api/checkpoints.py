"""Checkpoints over HTTP: list, show, download, promote, delete."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Query
from fastapi.responses import FileResponse, Response, StreamingResponse

from hone.documents import CheckpointFile, CheckpointRead, Page
from hone.documents.checkpoints import exported
from hone.errors import Conflict, NotFound, Unauthorized
from service import commands
from service.api.answers import refusals
from service.api.archive import Archive, Conditions, archive_response
from service.api.dependencies import Identity, Reader, Services, ServicesDep, SessionDep, Writer
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
    responses={206: {"description": "A part of the file"}, **refusals(400, 409, 416, 507)},
)
def download_file(checkpoint_id: str, name: str, identity: Reader, parts: ServicesDep) -> FileResponse:
    """Download one file; `Range` is supported. 409 if the storage holds another length than the manifest says."""
    with parts.database.transaction() as session:  # it ends before the file is fetched, which may take minutes
        row = checkpoints.get(session, checkpoint_id, identity.visible_owner)
    file = next((file for file in _document(row).files if file.name == name), None)
    if file is None:
        raise NotFound(f"checkpoint {checkpoint_id} has no file {name}", param="name", code="file_not_found")
    try:
        path = parts.storage.local(f"{row.storage_key}/{name}")
    except FileNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise NotFound(f"{name} of checkpoint {checkpoint_id} is missing in the storage", code="file_missing")
    stored = path.stat().st_size
    if stored != file.bytes:
        message = f"{name} of checkpoint {checkpoint_id} is damaged: {stored} of {file.bytes} bytes are stored"
        raise Conflict(f"{message}; take another checkpoint", param="name", code="file_damaged")
    return FileResponse(path, filename=name.rsplit("/", 1)[-1], headers={"etag": f'"{file.sha256}"'})


async def _range(
    range_: Annotated[str | None, Header(alias="range", max_length=1000, description="one range of bytes")] = None,
    if_range: Annotated[
        str | None, Header(max_length=1000, description="an ETag: the range counts for this version only")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(max_length=1000, description="an ETag: 304 if it is this version")
    ] = None,
) -> Conditions:
    return Conditions(range_, if_range, if_none_match)


@router.get(
    "/checkpoints/{checkpoint_id}/archive",
    response_class=StreamingResponse,
    responses={206: {"description": "A part"}, 304: {"description": "Unchanged"}, 416: {"description": "No such part"}},
)
def download_archive(
    checkpoint_id: str,
    identity: Reader,
    session: SessionDep,
    parts: ServicesDep,
    conditions: Annotated[Conditions, Depends(_range)],
    everything: Annotated[bool, Query(description="include the state of the training")] = False,  # noqa: FBT002 - a query parameter
) -> Response:
    """Download the model's files as a tar; unpacked, they load with `from_pretrained`. `Range` is supported.

    Files are compared with their hashes as they are sent; the transfer breaks off at one that differs.
    """
    row = checkpoints.get(session, checkpoint_id, identity.visible_owner)
    files = _document(row).files
    folder = f"{row.job_id}-step-{row.step}"
    included = files if everything else exported(files)
    archive = Archive(parts.storage, row.storage_key, folder, included, row.created_at.timestamp())
    return archive_response(archive, conditions, partial(_sent, parts, identity))


async def _sent(parts: Services, identity: Identity, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in threads; no longer than its reader has the right to it."""
    with parts.streams.open(identity.key_id, identity.owner, identity.role) as answer:
        while (piece := await parts.admissions.transfers.run(partial(next, pieces, None))) is not None:
            if not answer.allowed:
                raise Unauthorized("the key of this download was revoked, has expired or has changed")
            yield piece


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
