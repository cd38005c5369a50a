"""New jobs: submitted, or made again from an earlier one. The same request twice makes one job."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.commands.checks import check
from service.domain.errors import Conflict, IllegalMove, LimitReached
from service.domain.jobs import JobStatus
from service.domain.merge import merged
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from service.persistence import jobs
from service.persistence.database import Session
from service.persistence.tables import Job


@dataclass(frozen=True)
class Requester:
    """Who asks for a job, and how often they asked before."""

    owner: str
    key_id: str | None = None
    max_queued: int | None = None
    """How many jobs of the key may wait."""
    idempotency_key: str | None = None
    repeated: bool = False
    """Whether the client says that it repeats a request of which it got no answer."""


def submit(session: Session, by: Requester, spec: JobSpec, model_roots: list[Path]) -> Job:
    """Record a job and the bell that will start it: both exist, or neither. The same request twice makes one job."""
    request_hash = _hash(spec.model_dump_json())
    return _earlier(session, by, request_hash) or _add(session, by, spec, model_roots, request_hash)[0]


def retry(session: Session, by: Requester, job_id: str, sees: str | None, roots: list[Path]) -> Job:
    """A new job of the same spec, which goes on from where the failed or cancelled one has come to."""
    request_hash = _hash(f"retry {job_id}")
    made = _earlier(session, by, request_hash)  # first: that job may have been deleted meanwhile
    if made is not None:
        return made
    earlier = jobs.get(session, job_id, sees, lock=True)
    if earlier.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise IllegalMove(f"cannot retry a {earlier.status} job; clone it to run its spec again")
    spec = JobSpec.model_validate(earlier.spec)
    made, new = _add(session, by, spec, roots, request_hash, retry_of=earlier.id)
    if new:
        jobs.inherit(session, made, earlier)
    return made


def clone(
    session: Session, by: Requester, job_id: str, sees: str | None, roots: list[Path], changes: dict[str, Any]
) -> Job:
    """A new job, from the start, of the same spec with `changes` merged into it (RFC 7396: null removes a field)."""
    request_hash = _hash(f"clone {job_id} {json.dumps(changes, sort_keys=True)}")
    made = _earlier(session, by, request_hash)
    if made is not None:
        return made
    earlier = jobs.get(session, job_id, sees)
    spec = JobSpec.model_validate(merged(earlier.spec, changes))
    return _add(session, by, spec, roots, request_hash, clone_of=earlier.id)[0]


def _hash(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()


def _earlier(session: Session, by: Requester, request_hash: str) -> Job | None:
    """The job that an earlier try of this request made. Without a key it is one of the same request, which would give
    the same weights anyway. Conflict when the key made another.
    """
    if by.idempotency_key is not None:
        found = jobs.by_idempotency_key(session, by.owner, by.idempotency_key)
        return found and _same(found, request_hash)
    jobs.wait_for_the_same(session, by.owner, request_hash)  # an earlier try may still be on its way
    return jobs.by_request_hash(session, by.owner, request_hash) if by.repeated else None


def _same(earlier: Job, request_hash: str) -> Job:
    if earlier.request_hash == request_hash:
        return earlier
    raise Conflict(
        f"this Idempotency-Key already made job {earlier.id} from another request; use a new key",
        param="Idempotency-Key",
        code="idempotency_key_reused",
    )


def _add(
    session: Session, by: Requester, spec: JobSpec, roots: list[Path], request_hash: str, **origin: str
) -> tuple[Job, bool]:
    """The job, and whether it was made now."""
    _check_room_in_queue(session, by)
    check(session, by.owner, spec, roots)
    job = jobs.add(session, by.owner, spec, jobs.Origin(by.idempotency_key, request_hash, by.key_id, **origin))
    if job is None:  # the same request came twice at the same time, and the other was faster
        found = _earlier(session, by, request_hash)
        assert found is not None
        return found, False
    failpoint("submit.written")
    return job, True


def _check_room_in_queue(session: Session, by: Requester) -> None:
    if by.key_id is None or by.max_queued is None:
        return
    if jobs.queued_with(session, by.key_id) >= by.max_queued:
        raise LimitReached(
            f"this key may have {by.max_queued} jobs waiting (max_queued); wait until one starts, or cancel one"
        )
