"""The client of one service."""

from functools import cached_property
from types import TracebackType
from typing import Self

from hone.client.checkpoints import Checkpoints
from hone.client.files import Files
from hone.client.jobs import Jobs
from hone.client.keys import Keys
from hone.client.transport import Transport
from hone.client.webhooks import Webhooks
from hone.documents import LoginLinkCreated, Page, PresetRead, QueueRead, WorkerRead


class Client:
    """A client of the service at `url`, with the rights of `key`. Close it, or use it in a `with`."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        self._http = Transport(url, key, timeout)
        self.url = self._http.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def jobs(self) -> Jobs:
        """Requests about jobs."""
        return Jobs(self._http)

    @cached_property
    def files(self) -> Files:
        """Requests about files."""
        return Files(self._http)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Requests about checkpoints."""
        return Checkpoints(self._http)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Requests about webhooks."""
        return Webhooks(self._http)

    @cached_property
    def keys(self) -> Keys:
        """Requests about API keys; they need the role admin."""
        return Keys(self._http)

    def presets(self) -> Page[PresetRead]:
        """All presets."""
        return Page[PresetRead].model_validate_json(self._http.send("GET", "/v1/presets"))

    def preset(self, name: str) -> PresetRead:
        """A preset: its fields and where they come from."""
        return PresetRead.model_validate_json(self._http.send("GET", f"/v1/presets/{name}"))

    def queue(self, *, after: int = 0, limit: int = 100) -> QueueRead:
        """Queued jobs after a position, in the order of claims, and how busy the service is."""
        return QueueRead.model_validate_json(
            self._http.send("GET", "/v1/queue", params={"after": after, "limit": limit})
        )

    def workers(self) -> Page[WorkerRead]:
        """Workers and their jobs, including those that died within the last hour."""
        return Page[WorkerRead].model_validate_json(self._http.send("GET", "/v1/workers"))

    def worker(self, worker_id: str) -> WorkerRead:
        """A worker."""
        return WorkerRead.model_validate_json(self._http.send("GET", f"/v1/workers/{worker_id}"))

    def drain(self, worker_id: str) -> WorkerRead:
        """Let a worker finish its jobs and claim no more. Needs the role admin."""
        return WorkerRead.model_validate_json(self._http.send("POST", f"/v1/workers/{worker_id}/drain"))

    def undrain(self, worker_id: str) -> WorkerRead:
        """Let a drained worker claim jobs again. Needs the role admin."""
        return WorkerRead.model_validate_json(self._http.send("POST", f"/v1/workers/{worker_id}/undrain"))

    def login_link(self) -> str:
        """A URL that opens the page logged in, once. Needs the role admin."""
        link = LoginLinkCreated.model_validate_json(self._http.send("POST", "/v1/login_links"))
        return f"{self.url}/#/login/{link.token}"
