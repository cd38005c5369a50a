"""Uploaded files of a service."""

from pathlib import Path

from hone.client.transport import Transport
from hone.documents import FileRead


class Files:
    """Uploaded files of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def upload(self, path: Path, *, purpose: str = "fine-tune") -> FileRead:
        """Send a JSON Lines file; ApiError names the lines that cannot be used."""
        with path.open("rb") as content:
            form = {"data": {"purpose": purpose}, "files": {"file": (path.name, content, "application/jsonl")}}
            answer = self._http.send("POST", "/v1/files", repeat=False, timeout=None, **form)
        return FileRead.model_validate_json(answer)
