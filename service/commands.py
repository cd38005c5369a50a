"""What a user can do: one function each, to be called inside one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.domain.datasets import FileData
from service.domain.errors import Conflict, IllegalMove, Invalid, LimitReached, NotFound, Unauthorized
from service.domain.jobs import TERMINAL, JobEvent, JobStatus
from service.domain.keys import Limits
from service.domain.merge import merged
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL, JobSpec
from service.domain.webhooks import check_url
from service.failpoints import failpoint
from service.persistence import checkpoints, events, files, jobs, keys, outbox, webhooks
from service.persistence.database import Session
from service.persistence.tables import Checkpoint, Delivery, Job, Key, Webhook

LINK_MINUTES = 15
SESSION_DAYS = 30
MOST_WEBHOOKS = 20  # of one owner


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
    request_hash = _hash(spec)
    earlier = _earlier(session, by, request_hash)
    if earlier is not None:
        return _same(earlier, request_hash)
    return _add(session, by, spec, model_roots, request_hash)


def _earlier(session: Session, by: Requester, request_hash: str) -> Job | None:
    """The job that an earlier try of this request made. Without a key it is one of the same spec, which would give the
    same weights anyway.
    """
    if by.idempotency_key is not None:
        return jobs.by_idempotency_key(session, by.owner, by.idempotency_key)
    jobs.wait_for_the_same(session, by.owner, request_hash)  # an earlier try may still be on its way
    return jobs.by_request_hash(session, by.owner, request_hash) if by.repeated else None


def _same(earlier: Job, request_hash: str) -> Job:
    if earlier.request_hash == request_hash:
        return earlier
    raise Conflict(
        f"this Idempotency-Key already made job {earlier.id} from another spec; use a new key",
        param="Idempotency-Key",
        code="idempotency_key_reused",
    )


def _hash(spec: JobSpec) -> str:
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def _add(session: Session, by: Requester, spec: JobSpec, roots: list[Path], request_hash: str, **origin: str) -> Job:
    _check_room_in_queue(session, by)
    _check_parents(session, by.owner, spec)
    _check_models(session, by.owner, spec, roots)
    _check_files(session, by.owner, spec)
    made = jobs.Origin(by.idempotency_key, request_hash, by.key_id, **origin)
    job = jobs.add(session, by.owner, spec, made)
    if job is None:  # the same request came twice at the same time, and the other was faster
        earlier = _earlier(session, by, request_hash)
        assert earlier is not None
        return _same(earlier, request_hash)
    outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    failpoint("submit.written")
    return job


def _check_room_in_queue(session: Session, by: Requester) -> None:
    if by.key_id is None or by.max_queued is None:
        return
    if jobs.queued_with(session, by.key_id) >= by.max_queued:
        raise LimitReached(
            f"this key may have {by.max_queued} jobs waiting (max_queued); wait until one starts, or cancel one"
        )


def _check_parents(session: Session, owner: str, spec: JobSpec) -> None:
    for place, parent_id in enumerate(spec.depends_on):
        named = (field for field, model in spec.models.items() if model.startswith(f"job:{parent_id}"))
        param = next(named, f"depends_on.{place}")
        try:
            parent = jobs.get(session, parent_id, owner)
        except NotFound:
            raise Invalid(f"no job {parent_id}: name a job of your own", param=param) from None
        if parent.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise Invalid(f"job {parent_id} has {parent.status}: this job could never start", param=param)


def _check_models(session: Session, owner: str, spec: JobSpec, roots: list[Path]) -> None:
    for param, name in spec.models.items():
        match = JOB_MODEL.match(name)
        if match:
            parent = jobs.get(session, match["job"], owner)
            if parent.status == JobStatus.SUCCEEDED and checkpoints.choose(session, parent.id, match["which"]) is None:
                there = ", ".join(f"step-{row.step}" for row in checkpoints.of_job(session, parent.id)) or "none"
                raise Invalid(f"job {parent.id} has no checkpoint {match['which']}; it has {there}", param=param)
            _check_kind(parent, param)
        elif name.startswith("job:"):
            raise Invalid(f"'{name}' is not job:ID[@best|@latest|@step-N]", param=param)
        else:
            local_directory(name, roots)


def _check_kind(parent: Job, param: str) -> None:
    """A reward model scores, the others answer."""
    scores, wanted = parent.spec["algorithm"]["type"] == "reward_model", param.startswith("rewards.")
    if wanted and not scores:
        raise Invalid(f"job {parent.id} trains no reward model; name a job of type reward_model", param=param)
    if scores and param in ("model", "dataset.model"):
        raise Invalid(f"job {parent.id} trains a reward model, which cannot answer; name another", param=param)


def _check_files(session: Session, owner: str, spec: JobSpec) -> None:
    for field, dataset in spec.datasets.items():
        if not isinstance(dataset, FileData):
            continue
        param = f"{field}.source"
        try:
            file = files.get(session, dataset.source, owner)
        except NotFound:
            raise Invalid(f"no file {dataset.source}: upload it with POST /v1/files", param=param) from None
        wanted = {"sft": ["prompt+completion", "messages", "text"], "reward_model": ["chosen+rejected"]}
        shapes = wanted.get(spec.algorithm.type, ["prompt+answer"])
        if param == "dataset.source" and not set(shapes) & set(file.shapes):
            needs = " or ".join(shapes)
            raise Invalid(f"{spec.algorithm.type} needs rows of {needs}, but {file.id} has {file.columns}", param=param)


def cancel(session: Session, owner: str | None, job_id: str) -> Job:
    """Ask a job to stop: at once if it waits, else within a step. Asking twice is fine."""
    return _ask(session, owner, job_id, JobEvent.CANCEL, JobStatus.CANCELLING)


def pause(session: Session, owner: str | None, job_id: str) -> Job:
    """Ask a job to end its step, save and free its device. Asking twice is fine."""
    return _ask(session, owner, job_id, JobEvent.PAUSE, JobStatus.PAUSING, JobStatus.PAUSED)


def resume(session: Session, owner: str | None, job_id: str) -> Job:
    """Put a paused job back into the queue. Asking twice is fine."""
    job = _ask(session, owner, job_id, JobEvent.RESUME, JobStatus.QUEUED)
    job.not_before, job.restarts = None, 0  # somebody has looked: no reason to wait any longer
    return job


def _ask(session: Session, owner: str | None, job_id: str, event: JobEvent, *there: JobStatus) -> Job:
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status not in there:
        jobs.move(session, job, event)
    return job


def retry(session: Session, by: Requester, job_id: str, sees: str | None, roots: list[Path]) -> Job:
    """A new job of the same spec, which goes on from where the failed or cancelled one has come to."""
    earlier = jobs.get(session, job_id, sees, lock=True)
    if earlier.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise IllegalMove(f"cannot retry a {earlier.status} job; clone it to run its spec again")
    spec = JobSpec.model_validate(earlier.spec)
    made, new = _again(session, by, spec, roots, retry_of=earlier.id)
    if new:
        jobs.inherit(session, made, earlier)
    return made


def clone(
    session: Session, by: Requester, job_id: str, sees: str | None, roots: list[Path], changes: dict[str, Any]
) -> Job:
    """A new job, from the start, of the same spec with `changes` merged into it (RFC 7396: null removes a field)."""
    earlier = jobs.get(session, job_id, sees)
    spec = JobSpec.model_validate(merged(earlier.spec, changes))
    return _again(session, by, spec, roots, clone_of=earlier.id)[0]


def _again(session: Session, by: Requester, spec: JobSpec, roots: list[Path], **origin: str) -> tuple[Job, bool]:
    """A job made from another, and whether it was made now."""
    request_hash = hashlib.sha256(f"{origin}{_hash(spec)}".encode()).hexdigest()
    found = _earlier(session, by, request_hash)
    if found is not None:
        return _same(found, request_hash), False
    return _add(session, by, spec, roots, request_hash, **origin), True


def change(session: Session, owner: str | None, job_id: str, changes: dict[str, Any]) -> Job:
    """Another name, priority or tags; what runs goes on."""
    job = jobs.get(session, job_id, owner, lock=True)
    for name, value in changes.items():
        setattr(job, name, value)
    told = ", ".join(f"{name} is now {value}" for name, value in changes.items())
    events.add(session, job, "log", {"stream": "hone", "line": told})
    return job


def delete(session: Session, owner: str | None, job_id: str) -> None:
    """Forget an ended job, its metrics, samples and checkpoints."""
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status not in TERMINAL:
        raise IllegalMove(f"cannot delete a {job.status} job; cancel it first")
    children = jobs.unfinished_children(session, job_id)
    if children:
        raise Conflict(f"cannot delete job {job_id}: {', '.join(children[:5])} will start from it; cancel that first")
    promoted = [row.id for row in checkpoints.of_job(session, job_id) if row.promoted]
    if promoted:
        raise Conflict(f"cannot delete job {job_id}: its checkpoint {promoted[0]} is promoted; demote it first")
    jobs.remove(session, job)


def create_key(session: Session, owner: str, role: str, limits: Limits | None = None) -> tuple[Key, str]:
    """A key and its secret, which is shown this once."""
    return keys.add(session, owner, role, limits=limits or Limits())


def revoke_key(session: Session, key_id: str) -> Key:
    """A key that works no more. Its jobs go on; revoking it twice is fine."""
    key = keys.get(session, key_id)
    key.revoked_at = key.revoked_at or datetime.now(UTC)
    return key


def create_login_link(session: Session, owner: str, role: str) -> tuple[str, datetime]:
    """A token that opens the page once, and until when."""
    expires_at = datetime.now(UTC) + timedelta(minutes=LINK_MINUTES)
    return keys.add_link(session, owner, role, expires_at), expires_at


def log_in(session: Session, token: str) -> tuple[Key, str]:
    """Change a login token into a key for a browser."""
    made = keys.spend_link(session, token, datetime.now(UTC), timedelta(days=SESSION_DAYS))
    if made is None:
        raise Unauthorized(
            "this login link was used or has expired; `hone login` makes a new one", code="invalid_token"
        )
    return made


def promote(session: Session, owner: str | None, checkpoint_id: str, *, promoted: bool) -> Checkpoint:
    """Keep a checkpoint until it is demoted, whatever its job's `keep_last` says. Asking twice is fine."""
    row = checkpoints.get(session, checkpoint_id, owner)
    if checkpoints.lock(session, row) is None:  # superseded at this moment
        return checkpoints.get(session, checkpoint_id, owner)
    row.promoted = promoted
    return row


def delete_checkpoint(session: Session, owner: str | None, checkpoint_id: str) -> None:
    """Forget a checkpoint that nobody needs; its files go soon after."""
    row = checkpoints.get(session, checkpoint_id, owner)
    job = jobs.get(session, row.job_id, owner, lock=True)
    if checkpoints.lock(session, row) is None:
        return
    if row.promoted:
        raise Conflict(f"checkpoint {row.id} is promoted; demote it first", code="checkpoint_promoted")
    reader = checkpoints.readers(session, job.id).get(row.id)
    if reader is not None:
        raise Conflict(f"job {reader} starts from checkpoint {row.id}; let it end or cancel it", code="checkpoint_used")
    newest = checkpoints.choose(session, job.id, "latest")
    if job.status not in TERMINAL and newest is not None and newest.id == row.id:
        message = f"job {job.id}, which is {job.status}, goes on from checkpoint {row.id}; let it end or cancel it"
        raise Conflict(message, code="checkpoint_used")
    checkpoints.remove(session, row)


def create_webhook(session: Session, owner: str, url: str, events: Sequence[str], *, private: bool) -> Webhook:
    """An address that hears of its owner's jobs from now on."""
    check_url(url, private=private)
    if webhooks.count(session, owner) >= MOST_WEBHOOKS:
        raise Conflict(f"{owner} has {MOST_WEBHOOKS} webhooks already; remove one first", code="too_many_webhooks")
    return webhooks.add(session, owner, url, events)


def change_webhook(
    session: Session,
    owner: str | None,
    webhook_id: str,
    *,
    url: str | None,
    events: Sequence[str] | None,
    enabled: bool | None,
    private: bool,
) -> Webhook:
    """Change what is not None. What waits for a webhook that is enabled again is sent."""
    webhook = webhooks.get(session, webhook_id, owner, lock=True)
    if url is not None:
        check_url(url, private=private)
        webhook.url = url
    if events is not None:
        webhook.events = list(events)
    if enabled is not None:
        webhook.enabled = enabled
    return webhook


def delete_webhook(session: Session, owner: str | None, webhook_id: str) -> None:
    """Forget a webhook, its log, and what was still to be sent to it."""
    webhooks.remove(session, webhooks.get(session, webhook_id, owner, lock=True))


def test_webhook(session: Session, owner: str | None, webhook_id: str) -> Delivery:
    """Send a message that tells of nothing."""
    return webhooks.test(session, _enabled(webhooks.get(session, webhook_id, owner)))


def redeliver(session: Session, owner: str | None, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, whatever became of it."""
    webhook = _enabled(webhooks.get(session, webhook_id, owner))
    found = webhooks.delivery(session, webhook.id, delivery_id)
    webhooks.again(session, found)
    return found


def _enabled(webhook: Webhook) -> Webhook:
    if not webhook.enabled:
        raise Conflict(f"webhook {webhook.id} is disabled; enable it first", code="webhook_disabled")
    return webhook
