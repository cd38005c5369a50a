"""Jobs of a service, with their events, metrics and checkpoints."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx2
from pydantic import BaseModel

from hone.client.transport import RETRY_SECONDS, ApiError, Transport, without_none
from hone.documents import CheckpointRead, EventRead, JobRead, JobSummary, MetricsRead, Page, SampleRead, Series
from hone.errors import Unavailable

RECONNECT_SECONDS = 60.0  # how long a stream tries to reach an API that does not answer
READ_TIMEOUT_SECONDS = 60.0  # the API sends something at least every 15 s


class Jobs:
    """Jobs of a service."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def submit(self, spec: Mapping[str, Any] | BaseModel, *, idempotency_key: str | None = None) -> JobRead:
        """Queue a job. If the answer is lost, the request is repeated, and no second job is made."""
        document = spec.model_dump(mode="json") if isinstance(spec, BaseModel) else dict(spec)
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        return JobRead.model_validate_json(self._http.send("POST", "/v1/jobs", json=document, headers=headers))

    def get(self, job_id: str) -> JobRead:
        """The current state of a job."""
        return JobRead.model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}"))

    def list(
        self,
        *,
        status: str | None = None,
        owner: str | None = None,
        tag: Sequence[str] | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[JobSummary]:
        """Jobs without their specs, newest first; `tag`: `NAME=VALUE` or `NAME`, all of which a job must have."""
        query = without_none(status=status, owner=owner, tag=tag, after=after, limit=limit)
        return Page[JobSummary].model_validate_json(self._http.send("GET", "/v1/jobs", params=query))

    def cancel(self, job_id: str) -> JobRead:
        """Stop a job at its next step; ApiError 409 if it has ended."""
        return self._verb(job_id, "cancel")

    def pause(self, job_id: str) -> JobRead:
        """Pause a job: it ends its step, saves and frees its device."""
        return self._verb(job_id, "pause")

    def resume(self, job_id: str) -> JobRead:
        """Queue a paused job again."""
        return self._verb(job_id, "resume")

    def retry(self, job_id: str) -> JobRead:
        """A new job that continues from the last checkpoint of a failed or cancelled one."""
        return self._verb(job_id, "retry", headers={"idempotency-key": str(uuid.uuid4())})

    def extend(self, job_id: str, *, steps: int | None = None, epochs: float | None = None) -> JobRead:
        """A new job that continues where a finished one has ended, for further steps or passes over its rows."""
        further = without_none(steps=steps, epochs=epochs)
        return self._verb(job_id, "extend", headers={"idempotency-key": str(uuid.uuid4())}, json=further)

    def clone(self, job_id: str, changes: Mapping[str, Any] | None = None) -> JobRead:
        """A new job of the same spec with `changes` merged into it (null removes a field), from the start."""
        headers = {"idempotency-key": str(uuid.uuid4())}
        return self._verb(job_id, "clone", headers=headers, json=dict(changes or {}))

    def change(self, job_id: str, **changes: Any) -> JobRead:
        """Change `name`, `priority` or `tags`."""
        return JobRead.model_validate_json(self._http.send("PATCH", f"/v1/jobs/{job_id}", json=changes))

    def delete(self, job_id: str) -> None:
        """Delete an ended job with its metrics, samples and checkpoints."""
        self._http.send("DELETE", f"/v1/jobs/{job_id}")

    def _verb(self, job_id: str, verb: str, **options: Any) -> JobRead:
        return JobRead.model_validate_json(self._http.send("POST", f"/v1/jobs/{job_id}/{verb}", **options))

    def wait(self, job_id: str) -> JobRead:
        """The job, once it has ended."""
        for _ in self.stream(job_id):
            continue
        return self.get(job_id)

    def stream(self, job_id: str, *, after: int = 0) -> Iterator[EventRead]:
        """Events after `after` as they happen, until the job has ended. A lost connection is resumed without a gap.

        Raises Unavailable when the API has not answered for RECONNECT_SECONDS.
        """
        last_seq, last_answer, delay = after, time.monotonic(), RETRY_SECONDS
        while True:
            try:
                for event in self._connection(job_id, last_seq):
                    if event is None:
                        return
                    last_seq, last_answer, delay = event.seq, time.monotonic(), RETRY_SECONDS
                    yield event
            except (httpx2.TransportError, ApiError) as error:
                if isinstance(error, ApiError) and error.status < 500:
                    raise
                if time.monotonic() - last_answer > RECONNECT_SECONDS:
                    raise Unavailable(
                        f"the stream of job {job_id} was interrupted and could not be resumed: {error}"
                    ) from error
            time.sleep(delay)
            delay = min(2 * delay, 5.0)

    def _connection(self, job_id: str, after: int) -> Iterator[EventRead | None]:
        """The events of one connection; None follows the last event of an ended job."""
        timeout = httpx2.Timeout(10.0, read=READ_TIMEOUT_SECONDS)
        headers = {"last-event-id": str(after), "accept": "text/event-stream"}
        with self._http.open(f"/v1/jobs/{job_id}/stream", headers=headers, timeout=timeout) as response:
            if response.status_code == 204:  # `after` is the last event of an ended job
                yield None
                return
            for message in httpx2.EventSource(response):
                yield None if message.event == "end" else EventRead.model_validate_json(message.data)

    def events(
        self, job_id: str, *, after: int = 0, limit: int = 100, kind: Sequence[str] | None = None
    ) -> Page[EventRead]:
        """Events after `after`, of all kinds or of some, oldest first."""
        query = without_none(after=after, limit=limit, kind=kind)
        return Page[EventRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/events", params=query))

    def logs(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Page[EventRead]:
        """Events of kind `log`, oldest first."""
        query = without_none(after=after, limit=limit)
        return Page[EventRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/logs", params=query))

    def metrics(self, job_id: str, *names: str) -> MetricsRead:
        """The whole series of some metrics, or of all, by as many requests as that takes."""
        whole: dict[str, Series] = {}
        after: str | None = None
        while True:
            query = without_none(names=",".join(names) or None, after=after)
            part = MetricsRead.model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/metrics", params=query))
            for series in part.series:
                begun = whole.setdefault(series.name, series)
                if begun is not series:
                    begun.steps.extend(series.steps)
                    begun.values.extend(series.values)
                    begun.times.extend(series.times)
            after = part.next
            if after is None:
                return MetricsRead(job_id=job_id, series=list(whole.values()))

    def samples(self, job_id: str, *, step: int | None = None, limit: int = 20) -> Page[SampleRead]:
        """Recorded responses, newest first."""
        query = without_none(step=step, limit=limit)
        return Page[SampleRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/samples", params=query))

    def checkpoints(self, job_id: str) -> Page[CheckpointRead]:
        """Checkpoints, newest first."""
        return Page[CheckpointRead].model_validate_json(self._http.send("GET", f"/v1/jobs/{job_id}/checkpoints"))
