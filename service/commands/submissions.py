"""New jobs: submitted, retried, extended or cloned. The same request twice makes one job."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hone.documents.jobs import JobExtension
from hone.documents.status import JobStatus
from hone.errors import Conflict, IllegalMove, LimitReached
from service.commands.checks import check
from service.domain.extension import extended
from service.domain.jobs import TERMINAL
from service.domain.merge import merged
from service.domain.specs import JobSpec
from service.domain.stored import StoredSpec, without_unknown_nulls
from service.failpoints import failpoint
from service.persistence import checkpoints, jobs
from service.persistence.database import Session
from service.persistence.tables import Job


@dataclass(frozen=True)
class Requester:
    """Who submits a job, and what identifies the request if it is repeated."""

    owner: str
    key_id: str | None = None
    max_queued: int | None = None
    """Largest number of queued jobs of the key; None: no limit."""
    idempotency_key: str | None = None
    repeated: bool = False
    """Whether the client says that it repeats an earlier request."""


def submit(session: Session, by: Requester, spec: JobSpec, model_roots: list[Path]) -> Job:
    """Record a job and its doorbell in one transaction. The same request twice makes one job."""
    request_hash = _hash(spec.model_dump_json())
    return _earlier(session, by, request_hash) or _add(session, by, spec, model_roots, request_hash)[0]


def retry(session: Session, by: Requester, job_id: str, visible_owner: str | None, roots: list[Path]) -> Job:
    """A new job of the same spec that continues from the last checkpoint of a failed or cancelled job."""
    request_hash = _hash(f"retry {job_id}")
    repeated = _earlier(session, by, request_hash)  # first: the failed job may have been deleted meanwhile
    if repeated is not None:
        return repeated
    earlier = jobs.get(session, job_id, visible_owner, lock=True)
    if earlier.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise IllegalMove(f"cannot retry a {earlier.status} job; clone it to run its spec again")
    spec = StoredSpec(earlier.spec, earlier.spec_version).exact()
    job, is_new = _add(session, by, spec, roots, request_hash, retry_of=earlier.id)
    if is_new:
        jobs.inherit(session, job, earlier)
    return job


def extend(
    session: Session, by: Requester, job_id: str, visible_owner: str | None, roots: list[Path], further: JobExtension
) -> Job:
    """A new job of the same spec and more steps that continues from the last checkpoint of a job that has succeeded."""
    request_hash = _hash(f"extend {job_id} {further.model_dump_json()}")
    repeated = _earlier(session, by, request_hash)
    if repeated is not None:
        return repeated
    earlier = jobs.get(session, job_id, visible_owner, lock=True)
    if earlier.status != JobStatus.SUCCEEDED:
        remedy = "retry it" if earlier.status in TERMINAL else "let it end first"
        raise IllegalMove(f"cannot extend a {earlier.status} job; {remedy}")
    if checkpoints.choose(session, earlier.id, "latest") is None:
        message = f"job {earlier.id} has no checkpoint to continue from; clone it with more steps"
        raise Conflict(message, code="no_checkpoint")
    spec = extended(StoredSpec(earlier.spec, earlier.spec_version).exact(), earlier.progress, further)
    job, is_new = _add(session, by, spec, roots, request_hash, retry_of=earlier.id)
    if is_new:
        jobs.inherit(session, job, earlier)
    return job


def clone(
    session: Session, by: Requester, job_id: str, visible_owner: str | None, roots: list[Path], changes: dict[str, Any]
) -> Job:
    """A new job, from the start, of the same spec with `changes` merged into it (RFC 7396: null removes a field)."""
    request_hash = _hash(f"clone {job_id} {json.dumps(changes, sort_keys=True)}")
    repeated = _earlier(session, by, request_hash)
    if repeated is not None:
        return repeated
    earlier = jobs.get(session, job_id, visible_owner)
    stored = StoredSpec(earlier.spec, earlier.spec_version)
    document = without_unknown_nulls(merged(stored.document, changes))
    spec = JobSpec.model_validate(document)  # strictly, like every request
    return _add(session, by, spec, roots, request_hash, clone_of=earlier.id)[0]


def _hash(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()


def _earlier(session: Session, by: Requester, request_hash: str) -> Job | None:
    """The job that an earlier try of this request made, if any. Conflict if the Idempotency-Key made another job.

    Without a key, a repeated request is recognised by its hash: the same spec would give the same weights anyway. So is
    an original that its own repetition has overtaken, while the server or the network stood still.
    """
    if by.idempotency_key is not None:
        job = jobs.by_idempotency_key(session, by.owner, by.idempotency_key)
        return job and _same(job, request_hash)
    jobs.lock_requests(session, by.owner, request_hash)  # an earlier try may not have committed yet
    find = jobs.by_request_hash if by.repeated else jobs.made_by_repetition
    return find(session, by.owner, request_hash)


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
    """The job, and whether this call made it."""
    _check_queue_limit(session, by)
    check(session, by.owner, spec, roots)
    job = jobs.add(session, by.owner, spec, _origin(by, request_hash, **origin))
    if job is None:  # the same request came twice at the same time, and the other one was faster
        first = _earlier(session, by, request_hash)
        assert first is not None
        return first, False
    failpoint("submit.written")
    return job, True


def _origin(by: Requester, request_hash: str, **job_ids: str) -> jobs.Origin:
    alone = by.repeated and by.idempotency_key is None  # with a key, the original finds the job by that
    return jobs.Origin(by.idempotency_key, request_hash, by.key_id, made_by_repetition=alone, **job_ids)


def _check_queue_limit(session: Session, by: Requester) -> None:
    if by.key_id is None or by.max_queued is None:
        return
    if jobs.count_queued(session, by.key_id) >= by.max_queued:
        raise LimitReached(
            f"this key may have {by.max_queued} queued jobs (max_queued); wait until one starts, or cancel one"
        )
