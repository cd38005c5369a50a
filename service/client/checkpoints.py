"""Checkpoints of a service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from service.client.transport import Transport
from service.download import download
from service.schemas import CheckpointRead


class Checkpoints:
    """Checkpoints of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def get(self, checkpoint_id: str) -> CheckpointRead:
        """A checkpoint and its files."""
        return CheckpointRead.model_validate_json(self._http.send("GET", f"/v1/checkpoints/{checkpoint_id}"))

    def promote(self, checkpoint_id: str) -> CheckpointRead:
        """Keep it until it is demoted."""
        return CheckpointRead.model_validate_json(self._http.send("POST", f"/v1/checkpoints/{checkpoint_id}/promote"))

    def demote(self, checkpoint_id: str) -> CheckpointRead:
        """Treat it as any other again."""
        return CheckpointRead.model_validate_json(self._http.send("POST", f"/v1/checkpoints/{checkpoint_id}/demote"))

    def delete(self, checkpoint_id: str) -> None:
        """Delete it; ApiError when it is promoted, or a job needs it."""
        self._http.send("DELETE", f"/v1/checkpoints/{checkpoint_id}")

    def download(self, checkpoint_id: str, directory: Path) -> CheckpointRead:
        """Fetch all files into a new directory, whole and with the right hashes, or not at all."""
        checkpoint = self.get(checkpoint_id)

        @contextmanager
        def content(name: str) -> Iterator[Iterator[bytes]]:
            try:
                with self._http.open(f"/v1/checkpoints/{checkpoint_id}/files/{name}") as response:
                    yield response.iter_bytes()
            except httpx2.TransportError as error:
                raise self._http.unreachable(error) from error

        download(checkpoint.files, content, directory)
        return checkpoint
