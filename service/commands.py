"""What a user can do: one function each, to be called inside one transaction."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.domain.datasets import FileData
from service.domain.errors import Conflict, Invalid, NotFound, Unauthorized
from service.domain.jobs import JobEvent, JobStatus
from service.domain.models import local_directory
from service.domain.specs import JOB_MODEL, JobSpec
from service.failpoints import failpoint
from service.persistence import checkpoints, files, jobs, keys, outbox
from service.persistence.database import Session
from service.persistence.tables import Job, Key

LINK_MINUTES = 15
SESSION_DAYS = 30


def submit(session: Session, owner: str, spec: JobSpec, model_roots: list[Path], idempotency_key: str | None) -> Job:
    """Record a job and the bell that will start it: both exist, or neither."""
    if idempotency_key is not None:
        earlier = jobs.by_idempotency_key(session, owner, idempotency_key)
        if earlier is not None:
            return _same(earlier, spec)
    _check_parents(session, owner, spec)
    _check_models(session, owner, spec, model_roots)
    _check_files(session, owner, spec)
    job = jobs.add(session, owner, spec, idempotency_key)
    outbox.add(session, outbox.TRAIN, {"job_id": job.id})
    failpoint("submit.written")
    return job


def _same(earlier: Job, spec: JobSpec) -> Job:
    if earlier.spec == spec.model_dump(mode="json"):
        return earlier
    raise Conflict(
        f"this Idempotency-Key already made job {earlier.id} from another spec; use a new key",
        param="Idempotency-Key",
        code="idempotency_key_reused",
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
    job = jobs.get(session, job_id, owner, lock=True)
    if job.status != JobStatus.CANCELLING:
        jobs.move(session, job, JobEvent.CANCEL)
    return job


def create_key(session: Session, owner: str, role: str) -> tuple[Key, str]:
    """A key and its secret, which is shown this once."""
    return keys.add(session, owner, role)


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
