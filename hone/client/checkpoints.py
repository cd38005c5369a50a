"""Checkpoints of a service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from hone.client.download import download
from hone.client.transport import Transport
from hone.documents import CheckpointRead
from hone.documents.checkpoints import exported


class Checkpoints:
    """Checkpoints of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def get(self, checkpoint_id: str) -> CheckpointRead:
        """A checkpoint and its files."""
        return CheckpointRead.model_validate_json(self._http.send("GET", f"/v1/checkpoints/{checkpoint_id}"))

    def promote(self, checkpoint_id: str) -> CheckpointRead:
        """Retain a checkpoint until it is demoted."""
        return CheckpointRead.model_validate_json(self._http.send("POST", f"/v1/checkpoints/{checkpoint_id}/promote"))

    def demote(self, checkpoint_id: str) -> CheckpointRead:
        """Undo a promotion."""
        return CheckpointRead.model_validate_json(self._http.send("POST", f"/v1/checkpoints/{checkpoint_id}/demote"))

    def delete(self, checkpoint_id: str) -> None:
        """Delete a checkpoint; ApiError if it is promoted or a job needs it."""
        self._http.send("DELETE", f"/v1/checkpoints/{checkpoint_id}")

    def download(self, checkpoint_id: str, directory: Path, *, everything: bool = False) -> CheckpointRead:
        """Download the model into a new directory, with `everything` also the state of the training.

        Either all of its files, with the right hashes, or none.
        """
        checkpoint = self.get(checkpoint_id)

        @contextmanager
        def content(name: str) -> Iterator[Iterator[bytes]]:
            try:
                with self._http.open(f"/v1/checkpoints/{checkpoint_id}/files/{name}") as response:
                    yield response.iter_bytes()
            except httpx2.TransportError as error:
                raise self._http.unreachable(error) from error

        download(checkpoint.files if everything else exported(checkpoint.files), content, directory)
        return checkpoint
