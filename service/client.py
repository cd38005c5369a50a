"""A Python client of the HTTP API: it can do what any user can, and nothing else.

hone = Client("http://127.0.0.1:8000", key)
job = hone.jobs.submit({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})
for event in hone.jobs.stream(job.id):
    print(event.kind, event.data)
"""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from service.domain.errors import HoneError, Unavailable
from service.domain.keys import Limits
from service.domain.specs import JobSpec
from service.download import download
from service.schemas import (
    CheckpointRead,
    DeliveryRead,
    EventRead,
    FileRead,
    JobRead,
    KeyCreated,
    KeyRead,
    LoginLink,
    MetricsRead,
    Page,
    PresetRead,
    QueueRead,
    SampleRead,
    WebhookCreated,
    WebhookRead,
    WorkerRead,
)

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
TRIES, RETRY_SECONDS = 3, 0.3
PATIENCE_SECONDS = 60.0  # how long a stream tries to reach an API that went away
SILENCE_SECONDS = 60.0  # a stream says something at least every 15 s


class ApiError(HoneError):
    """The API refused, in its own words."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status


class Client:
    """A service at `url`, as whom `key` belongs to. Close it, or use it in a `with`."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=timeout,
            trust_env=urlsplit(self.url).hostname not in LOOPBACK,  # no proxy stands between us and this machine
        )

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
    def jobs(self) -> "Jobs":
        """What can be done with jobs."""
        return Jobs(self)

    @cached_property
    def files(self) -> "Files":
        """What can be done with files."""
        return Files(self)

    @cached_property
    def checkpoints(self) -> "Checkpoints":
        """What can be done with checkpoints."""
        return Checkpoints(self)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """Addresses that are told of jobs."""
        return Webhooks(self)

    @cached_property
    def keys(self) -> "Keys":
        """API keys. They need an admin's."""
        return Keys(self)

    def presets(self) -> Page[PresetRead]:
        """Every preset."""
        return Page[PresetRead].model_validate_json(self.send("GET", "/v1/presets"))

    def preset(self, name: str) -> PresetRead:
        """A preset: its fields and where they come from."""
        return PresetRead.model_validate_json(self.send("GET", f"/v1/presets/{name}"))

    def queue(self, *, after: int = 0, limit: int = 100) -> QueueRead:
        """Queued jobs in the order in which they would be claimed, beyond a position, and how full the service is."""
        return QueueRead.model_validate_json(self.send("GET", "/v1/queue", params={"after": after, "limit": limit}))

    def workers(self) -> Page[WorkerRead]:
        """Workers and what they run; the dead of the last hour too."""
        return Page[WorkerRead].model_validate_json(self.send("GET", "/v1/workers"))

    def worker(self, worker_id: str) -> WorkerRead:
        """A worker."""
        return WorkerRead.model_validate_json(self.send("GET", f"/v1/workers/{worker_id}"))

    def drain(self, worker_id: str) -> WorkerRead:
        """Let a worker finish what it runs and claim nothing more. Needs an admin's key."""
        return WorkerRead.model_validate_json(self.send("POST", f"/v1/workers/{worker_id}/drain"))

    def undrain(self, worker_id: str) -> WorkerRead:
        """Let a drained worker claim again. Needs an admin's key."""
        return WorkerRead.model_validate_json(self.send("POST", f"/v1/workers/{worker_id}/undrain"))

    def login_link(self) -> str:
        """An address that opens the page logged in, once. Needs an admin's key."""
        return f"{self.url}/#/login/{LoginLink.model_validate_json(self.send('POST', '/v1/login_links')).token}"

    def send(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> bytes:
        """The body of the answer. Raises ApiError, or Unavailable after some tries if nobody answers."""
        for left in reversed(range(TRIES if repeat else 1)):
            try:
                response = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                if not left:
                    raise self.unreachable(error) from error
                time.sleep(RETRY_SECONDS)
            else:
                _check(response)
                return response.content
        raise AssertionError("unreachable: the last try answers or raises")

    @contextmanager
    def open(self, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """An answer whose body is read as it arrives. Raises ApiError, and TransportError while it is read."""
        with self._http.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
            _check(response)
            yield response

    def unreachable(self, error: httpx2.TransportError) -> Unavailable:
        """What to say when nobody answers."""
        return Unavailable(f"no service answers at {self.url} ({error}); is `hone up` running there?")


class Jobs:
    """Jobs of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None) -> JobRead:
        """Queue a job. A lost answer is asked for again without making a second job."""
        document = spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        return JobRead.model_validate_json(self._client.send("POST", "/v1/jobs", json=document, headers=headers))

    def get(self, job_id: str) -> JobRead:
        """A job as it stands."""
        return JobRead.model_validate_json(self._client.send("GET", f"/v1/jobs/{job_id}"))

    def list(self, *, status: str | None = None, after: str | None = None, limit: int = 20) -> Page[JobRead]:
        """Jobs, newest first."""
        query = _given(status=status, after=after, limit=limit)
        return Page[JobRead].model_validate_json(self._client.send("GET", "/v1/jobs", params=query))

    def cancel(self, job_id: str) -> JobRead:
        """Stop a job at its next step; ApiError 409 if it has ended."""
        return self._verb(job_id, "cancel")

    def pause(self, job_id: str) -> JobRead:
        """Stop a job for a while, once its step is done and saved."""
        return self._verb(job_id, "pause")

    def resume(self, job_id: str) -> JobRead:
        """Queue a paused job again."""
        return self._verb(job_id, "resume")

    def retry(self, job_id: str) -> JobRead:
        """A new job that goes on from the last checkpoint of a failed or cancelled one."""
        return self._verb(job_id, "retry", headers={"idempotency-key": str(uuid.uuid4())})

    def clone(self, job_id: str, changes: Mapping[str, Any] | None = None) -> JobRead:
        """A new job of the same spec with `changes` merged into it (null removes a field), from the start."""
        headers = {"idempotency-key": str(uuid.uuid4())}
        return self._verb(job_id, "clone", headers=headers, json=dict(changes or {}))

    def change(self, job_id: str, **changes: Any) -> JobRead:
        """Another `name`, `priority` or `tags`."""
        return JobRead.model_validate_json(self._client.send("PATCH", f"/v1/jobs/{job_id}", json=changes))

    def delete(self, job_id: str) -> None:
        """Forget an ended job with its metrics, samples and checkpoints."""
        self._client.send("DELETE", f"/v1/jobs/{job_id}")

    def _verb(self, job_id: str, verb: str, **options: Any) -> JobRead:
        return JobRead.model_validate_json(self._client.send("POST", f"/v1/jobs/{job_id}/{verb}", **options))

    def wait(self, job_id: str) -> JobRead:
        """The job, once it has ended."""
        for _ in self.stream(job_id):
            continue
        return self.get(job_id)

    def stream(self, job_id: str, *, after: int = 0) -> Iterator[EventRead]:
        """Events beyond `after` as they happen, until the job has ended; a lost connection goes on where it broke off.

        Raises Unavailable once nobody has answered for PATIENCE_SECONDS.
        """
        seen, heard, delay = after, time.monotonic(), RETRY_SECONDS
        while True:
            try:
                for event in self._connection(job_id, seen):
                    if event is None:
                        return
                    seen, heard, delay = event.seq, time.monotonic(), RETRY_SECONDS
                    yield event
            except (httpx2.TransportError, ApiError) as error:
                if isinstance(error, ApiError) and error.status < 500:
                    raise
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise Unavailable(f"the stream of job {job_id} broke off and did not come back: {error}") from error
            time.sleep(delay)
            delay = min(2 * delay, 5.0)

    def _connection(self, job_id: str, seen: int) -> Iterator[EventRead | None]:
        """The events of one connection; None says that there will be no more."""
        timeout = httpx2.Timeout(10.0, read=SILENCE_SECONDS)
        headers = {"last-event-id": str(seen), "accept": "text/event-stream"}
        with self._client.open(f"/v1/jobs/{job_id}/stream", headers=headers, timeout=timeout) as response:
            for message in httpx2.EventSource(response):
                yield None if message.event == "end" else EventRead.model_validate_json(message.data)

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[EventRead]:
        """Events beyond `after`, oldest first."""
        query = _given(after=after, limit=limit)
        return Page[EventRead].model_validate_json(self._client.send("GET", f"/v1/jobs/{job_id}/events", params=query))

    def logs(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Page[EventRead]:
        """Events of kind `log`, oldest first."""
        query = _given(after=after, limit=limit)
        return Page[EventRead].model_validate_json(self._client.send("GET", f"/v1/jobs/{job_id}/logs", params=query))

    def metrics(self, job_id: str, *names: str) -> MetricsRead:
        """The series of some metrics, or of all."""
        query = _given(names=",".join(names) or None)
        return MetricsRead.model_validate_json(self._client.send("GET", f"/v1/jobs/{job_id}/metrics", params=query))

    def samples(self, job_id: str, *, step: int | None = None, limit: int = 20) -> Page[SampleRead]:
        """Recorded responses, newest first."""
        query = _given(step=step, limit=limit)
        return Page[SampleRead].model_validate_json(
            self._client.send("GET", f"/v1/jobs/{job_id}/samples", params=query)
        )

    def checkpoints(self, job_id: str) -> Page[CheckpointRead]:
        """Whole checkpoints, newest first."""
        return Page[CheckpointRead].model_validate_json(self._client.send("GET", f"/v1/jobs/{job_id}/checkpoints"))


class Checkpoints:
    """Checkpoints of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, checkpoint_id: str) -> CheckpointRead:
        """A checkpoint and its files."""
        return CheckpointRead.model_validate_json(self._client.send("GET", f"/v1/checkpoints/{checkpoint_id}"))

    def download(self, checkpoint_id: str, directory: Path) -> CheckpointRead:
        """Fetch all files into a new directory, whole and with the right hashes, or not at all."""
        checkpoint = self.get(checkpoint_id)

        @contextmanager
        def content(name: str) -> Iterator[Iterator[bytes]]:
            try:
                with self._client.open(f"/v1/checkpoints/{checkpoint_id}/files/{name}") as response:
                    yield response.iter_bytes()
            except httpx2.TransportError as error:
                raise self._client.unreachable(error) from error

        download(checkpoint.files, content, directory)
        return checkpoint


class Files:
    """Uploaded files of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def upload(self, path: Path, *, purpose: str = "fine-tune") -> FileRead:
        """Send a JSON Lines file; ApiError names the lines that cannot be used."""
        with path.open("rb") as content:
            form = {"data": {"purpose": purpose}, "files": {"file": (path.name, content, "application/jsonl")}}
            answer = self._client.send("POST", "/v1/files", repeat=False, timeout=None, **form)
        return FileRead.model_validate_json(answer)


class Webhooks:
    """Webhooks of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, url: str, *, events: Sequence[str] | None = None) -> WebhookCreated:
        """Have an address told of your jobs, of their ends unless `events` says otherwise. Keep the secret."""
        wanted = _given(url=url, events=events)
        return WebhookCreated.model_validate_json(self._client.send("POST", "/v1/webhooks", repeat=False, json=wanted))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[WebhookRead]:
        """Webhooks, newest first."""
        query = _given(after=after, limit=limit)
        return Page[WebhookRead].model_validate_json(self._client.send("GET", "/v1/webhooks", params=query))

    def get(self, webhook_id: str) -> WebhookRead:
        """A webhook as it stands."""
        return WebhookRead.model_validate_json(self._client.send("GET", f"/v1/webhooks/{webhook_id}"))

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> WebhookRead:
        """Change what is given."""
        wanted = _given(url=url, events=events, enabled=enabled)
        return WebhookRead.model_validate_json(self._client.send("PATCH", f"/v1/webhooks/{webhook_id}", json=wanted))

    def delete(self, webhook_id: str) -> None:
        """Forget a webhook, its log and what was still to be sent to it."""
        self._client.send("DELETE", f"/v1/webhooks/{webhook_id}", repeat=False)

    def test(self, webhook_id: str) -> DeliveryRead:
        """Send a message that tells of nothing."""
        answer = self._client.send("POST", f"/v1/webhooks/{webhook_id}/test", repeat=False)
        return DeliveryRead.model_validate_json(answer)

    def deliveries(self, webhook_id: str, *, after: str | None = None, limit: int = 20) -> Page[DeliveryRead]:
        """What was sent to a webhook, or is to be, newest first."""
        path, query = f"/v1/webhooks/{webhook_id}/deliveries", _given(after=after, limit=limit)
        return Page[DeliveryRead].model_validate_json(self._client.send("GET", path, params=query))

    def redeliver(self, webhook_id: str, delivery_id: str) -> DeliveryRead:
        """Send a delivery once more, under the same id."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return DeliveryRead.model_validate_json(self._client.send("POST", path))


class Keys:
    """API keys of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, owner: str, *, role: str = "member", limits: Limits | None = None) -> KeyCreated:
        """A key for an owner; its secret is shown this once."""
        wanted = {"owner": owner, "role": role, **(limits or Limits()).model_dump()}
        return KeyCreated.model_validate_json(self._client.send("POST", "/v1/keys", repeat=False, json=wanted))

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[KeyRead]:
        """Everybody's keys without their secrets, newest first."""
        query = _given(after=after, limit=limit)
        return Page[KeyRead].model_validate_json(self._client.send("GET", "/v1/keys", params=query))

    def revoke(self, key_id: str) -> KeyRead:
        """Let a key work no more."""
        return KeyRead.model_validate_json(self._client.send("DELETE", f"/v1/keys/{key_id}"))


def _given(**query: Any) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _check(response: httpx2.Response) -> None:
    if not response.is_error:
        return
    try:
        error = response.json()["error"]
        raise ApiError(response.status_code, error["message"], error.get("param"), error.get("code"))
    except (ValueError, KeyError, TypeError):
        text = f"{response.url} answered {response.status_code} {response.reason_phrase}; is that a Hone service?"
        raise ApiError(response.status_code, text) from None
