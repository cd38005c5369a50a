"""The tables. PostgreSQL alone holds the state of jobs; messages only say that there is something to read."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hone.documents.status import JobStatus

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Plain Python types as columns: text, 8-byte integers and floats, times with zone, JSONB."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        int: BigInteger,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class Created:
    """When the row was made, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Key(Created, Base):
    """An API key; only the hash of its secret is stored."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    role: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    max_running: Mapped[int | None]
    """Limits of the jobs that were submitted with it; None: no limit."""
    max_queued: Mapped[int | None]
    max_gpus: Mapped[int | None]


class LoginLink(Created, Base):
    """A token that can be exchanged for a key once."""

    __tablename__ = "login_links"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    role: Mapped[str]
    expires_at: Mapped[datetime]


class Job(Created, Base):
    """A job: its spec, its status, its attempt and lease, and its last progress and metrics."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str | None]
    status: Mapped[JobStatus] = mapped_column(Text)
    algorithm: Mapped[str]
    model: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_version: Mapped[int] = mapped_column(server_default=text("1"))
    """The version of the spec's fields (`service/domain/stored.py`)."""
    tags: Mapped[dict[str, Any]]
    priority: Mapped[int]
    gpus: Mapped[int]
    depends_on: Mapped[list[str]]
    max_restarts: Mapped[int]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]
    made_by_repetition: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether its original request has not been seen: it may still come."""
    """Hash of the submitted spec: identifies a repeated request that has no Idempotency-Key."""
    key_id: Mapped[str | None] = mapped_column(ForeignKey("keys.id", ondelete="SET NULL"))
    """The key that submitted the job; the limits of the key apply to it."""
    retry_of: Mapped[str | None]
    clone_of: Mapped[str | None]

    version: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    restarts: Mapped[int] = mapped_column(server_default=text("0"))
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    attempt_started_at: Mapped[datetime | None]
    reports: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of batches of events that the current attempt has written."""
    ran_seconds: Mapped[float] = mapped_column(server_default=text("0"))
    """Running time of ended attempts."""

    progress: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    origins: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """The checkpoint id that each `job:ID@which` of the spec means, once it is decided."""
    health_notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    failure: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("ix_jobs_owner_created_at", "owner", "created_at"),
        Index("ix_jobs_queue", text("priority DESC"), "created_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_jobs_lease_expires_at",
            "lease_expires_at",
            postgresql_where=text("status IN ('running', 'pausing', 'cancelling')"),
        ),
        Index("ix_jobs_owner_request_hash", "owner", "request_hash"),
        Index("ix_jobs_depends_on", "depends_on", postgresql_using="gin", postgresql_where=text("status = 'queued'")),
        Index("ix_jobs_finished_at", "finished_at"),
        Index("ix_jobs_created_at_id", "created_at", "id"),
    )


def _job() -> Any:
    return mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


class Event(Created, Base):
    """One entry of a job's ordered sequence: status, metrics, log, sample, checkpoint."""

    __tablename__ = "events"
    job_id: Mapped[str] = _job()
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    attempt: Mapped[int]
    step: Mapped[int | None]
    data: Mapped[dict[str, Any]]


class Metric(Created, Base):
    """One value of one metric at one step."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = _job()
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float]


class Sample(Created, Base):
    """One recorded response."""

    __tablename__ = "samples"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[int]
    split: Mapped[str]
    prompt: Mapped[str]
    response: Mapped[str]
    answer: Mapped[str | None]
    reward: Mapped[float | None]
    rewards: Mapped[dict[str, Any]]
    tokens: Mapped[int]
    truncated: Mapped[bool]

    __table_args__ = (Index("ix_samples_job_id_step_id", "job_id", "step", "id"),)


class Checkpoint(Created, Base):
    """A complete checkpoint in the storage."""

    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[int]
    attempt: Mapped[int]
    storage_key: Mapped[str]
    bytes: Mapped[int]
    best: Mapped[bool] = mapped_column(server_default=text("false"))
    promoted: Mapped[bool] = mapped_column(server_default=text("false"))
    """Retained until somebody demotes it."""
    damaged: Mapped[bool] = mapped_column(server_default=text("false"))
    """Its files differ from `files`: no job starts from it."""
    metrics: Mapped[dict[str, Any]]
    files: Mapped[list[Any]]

    __table_args__ = (UniqueConstraint("job_id", "step"), Index("ix_checkpoints_storage_key", "storage_key"))


class Garbage(Created, Base):
    """A storage key that a row no longer names: its files are deleted once no other row names it."""

    __tablename__ = "garbage"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    storage_key: Mapped[str]


class File(Created, Base):
    """An uploaded file; its bytes are in the storage under their hash."""

    __tablename__ = "files"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    rows: Mapped[int]
    columns: Mapped[list[str]]
    shapes: Mapped[list[str]]
    notes: Mapped[list[str]] = mapped_column(server_default="{}")

    __table_args__ = (Index("ix_files_owner_created_at", "owner", "created_at"),)


class Outbox(Created, Base):
    """A message that must be sent because its transaction happened; deleted once sent."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    payload: Mapped[dict[str, Any]]


class Worker(Base):
    """A worker process and its last heartbeat."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    slots: Mapped[int]
    devices: Mapped[list[str]]
    gpus: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Index, name and memory_bytes of each GPU."""
    memory_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    versions: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it finishes its jobs and claims no more."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Webhook(Created, Base):
    """A URL that receives the events of its owner's jobs."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))

    __table_args__ = (Index("ix_webhooks_owner", "owner"),)


class Delivery(Created, Base):
    """One message for one webhook: written with the move that it reports, retried until it is accepted."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str]
    job_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_at: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp())
    """Time of the next attempt; None: no further attempt."""
    delivered_at: Mapped[datetime | None]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    attempt_log: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """The outcomes of the latest attempts, in order; bounded, so it needs no table of its own."""

    __table_args__ = (
        Index("ix_deliveries_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    )
