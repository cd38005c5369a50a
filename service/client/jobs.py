"""Jobs of a service, and what they said."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from service.client.transport import RETRY_SECONDS, ApiError, Transport, given
from service.domain.errors import Unavailable
from service.domain.specs import JobSpec
from service.schemas import CheckpointRead, EventRead, JobRead, MetricsRead, Page, SampleRead

PATIENCE_SECONDS = 60.0  # how long a stream tries to reach an API that went away
SILENCE_SECONDS = 60.0  # a stream says something at least every 15 s


class Jobs:
    """Jobs of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def submit(self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None) -> JobRead:
        """Queue a job. A lost answer is asked for again without making a second job."""
        document = spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        return JobRead.model_validate_json(self._http.send("POST", "/v1/jobs", json=document, headers=headers))

    def get(self, job_id: str) -> JobRead:
        """A job as it stands."""
        return JobRead.model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}"))

    def list(self, *, status: str | None = None, after: str | None = None, limit: int = 20) -> Page[JobRead]:
        """Jobs, newest first."""
        query = given(status=status, after=after, limit=limit)
        return Page[JobRead].model_validate_json(self._http.send("GET", "/v1/jobs", params=query))

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
        return JobRead.model_validate_json(self._http.send("PATCH", f"/v1/jobs/{job_id}", json=changes))

    def delete(self, job_id: str) -> None:
        """Forget an ended job with its metrics, samples and checkpoints."""
        self._http.send("DELETE", f"/v1/jobs/{job_id}")

    def _verb(self, job_id: str, verb: str, **options: Any) -> JobRead:
        return JobRead.model_validate_json(self._http.send("POST", f"/v1/jobs/{job_id}/{verb}", **options))

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
        with self._http.open(f"/v1/jobs/{job_id}/stream", headers=headers, timeout=timeout) as response:
            for message in httpx2.EventSource(response):
                yield None if message.event == "end" else EventRead.model_validate_json(message.data)

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[EventRead]:
        """Events beyond `after`, oldest first."""
        query = given(after=after, limit=limit)
        return Page[EventRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/events", params=query))

    def logs(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Page[EventRead]:
        """Events of kind `log`, oldest first."""
        query = given(after=after, limit=limit)
        return Page[EventRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/logs", params=query))

    def metrics(self, job_id: str, *names: str) -> MetricsRead:
        """The series of some metrics, or of all."""
        query = given(names=",".join(names) or None)
        return MetricsRead.model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/metrics", params=query))

    def samples(self, job_id: str, *, step: int | None = None, limit: int = 20) -> Page[SampleRead]:
        """Recorded responses, newest first."""
        query = given(step=step, limit=limit)
        return Page[SampleRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/samples", params=query))

    def checkpoints(self, job_id: str) -> Page[CheckpointRead]:
        """Whole checkpoints, newest first."""
        return Page[CheckpointRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/checkpoints"))
