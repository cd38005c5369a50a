"""A service as Python sees it."""

from functools import cached_property
from types import TracebackType
from typing import Self

from service.client.checkpoints import Checkpoints
from service.client.files import Files
from service.client.jobs import Jobs
from service.client.keys import Keys
from service.client.transport import Transport
from service.client.webhooks import Webhooks
from service.schemas import LoginLink, Page, PresetRead, QueueRead, WorkerRead


class Client:
    """A service at `url`, as whom `key` belongs to. Close it, or use it in a `with`."""

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
        """Give the connections back."""
        self._http.close()

    @cached_property
    def jobs(self) -> Jobs:
        """What can be done with jobs."""
        return Jobs(self._http)

    @cached_property
    def files(self) -> Files:
        """What can be done with files."""
        return Files(self._http)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What can be done with checkpoints."""
        return Checkpoints(self._http)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Addresses that are told of jobs."""
        return Webhooks(self._http)

    @cached_property
    def keys(self) -> Keys:
        """API keys. They need an admin's."""
        return Keys(self._http)

    def presets(self) -> Page[PresetRead]:
        """Every preset."""
        return Page[PresetRead].model_validate_json(self._http.send("GET", "/v1/presets"))

    def preset(self, name: str) -> PresetRead:
        """A preset: its fields and where they come from."""
        return PresetRead.model_validate_json(self._http.send("GET", f"/v1/presets/{name}"))

    def queue(self, *, after: int = 0, limit: int = 100) -> QueueRead:
        """Queued jobs in the order in which they would be claimed, beyond a position, and how full the service is."""
        return QueueRead.model_validate_json(
            self._http.send("GET", "/v1/queue", params={"after": after, "limit": limit})
        )

    def workers(self) -> Page[WorkerRead]:
        """Workers and what they run; the dead of the last hour too."""
        return Page[WorkerRead].model_validate_json(self._http.send("GET", "/v1/workers"))

    def worker(self, worker_id: str) -> WorkerRead:
        """A worker."""
        return WorkerRead.model_validate_json(self._http.send("GET", f"/v1/workers/{worker_id}"))

    def drain(self, worker_id: str) -> WorkerRead:
        """Let a worker finish what it runs and claim nothing more. Needs an admin's key."""
        return WorkerRead.model_validate_json(self._http.send("POST", f"/v1/workers/{worker_id}/drain"))

    def undrain(self, worker_id: str) -> WorkerRead:
        """Let a drained worker claim again. Needs an admin's key."""
        return WorkerRead.model_validate_json(self._http.send("POST", f"/v1/workers/{worker_id}/undrain"))

    def login_link(self) -> str:
        """An address that opens the page logged in, once. Needs an admin's key."""
        return f"{self.url}/#/login/{LoginLink.model_validate_json(self._http.send('POST', '/v1/login_links')).token}"
