"""The rows. Postgres alone decides what a job is; everything else is told."""

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

from service.domain.jobs import JobStatus

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
    """An API key; only the hash of its secret is kept."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    role: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    max_running: Mapped[int | None]
    """Limits of the jobs that were submitted with it; none: no limit."""
    max_queued: Mapped[int | None]
    max_gpus: Mapped[int | None]


class LoginLink(Created, Base):
    """A token that can be changed into a key once."""

    __tablename__ = "login_links"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    role: Mapped[str]
    expires_at: Mapped[datetime]


class Job(Created, Base):
    """A job: what was asked, where it is, who runs it, what it last said."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str | None]
    status: Mapped[JobStatus] = mapped_column(Text)
    algorithm: Mapped[str]
    model: Mapped[str]
    spec: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]]
    priority: Mapped[int]
    gpus: Mapped[int]
    depends_on: Mapped[list[str]]
    max_restarts: Mapped[int]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]
    """Of the spec as it was asked for: a repeated request without a key is recognised by it."""
    key_id: Mapped[str | None] = mapped_column(ForeignKey("keys.id", ondelete="SET NULL"))
    """With which key it was submitted; its limits hold for the job."""
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
    """How many the current attempt has written."""
    ran_seconds: Mapped[float] = mapped_column(server_default=text("0"))
    """By attempts that have ended."""

    progress: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    origins: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Which checkpoint each `job:ID@which` of the spec means, by id: decided once, kept until it has ended."""
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
    """A whole checkpoint in the storage."""

    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[int]
    attempt: Mapped[int]
    storage_key: Mapped[str]
    bytes: Mapped[int]
    best: Mapped[bool] = mapped_column(server_default=text("false"))
    promoted: Mapped[bool] = mapped_column(server_default=text("false"))
    """Kept until a person says otherwise."""
    damaged: Mapped[bool] = mapped_column(server_default=text("false"))
    """Its files were found not to be what `files` says: nothing starts from it."""
    metrics: Mapped[dict[str, Any]]
    files: Mapped[list[Any]]

    __table_args__ = (UniqueConstraint("job_id", "step"), Index("ix_checkpoints_storage_key", "storage_key"))


class Garbage(Created, Base):
    """A key of the storage that its row no longer names: its files go once no other row names it."""

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

    __table_args__ = (Index("ix_files_owner_created_at", "owner", "created_at"),)


class Outbox(Created, Base):
    """A message that must be sent because its transaction happened; deleted once sent."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    payload: Mapped[dict[str, Any]]


class Worker(Base):
    """A worker process and when it was last heard of."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    slots: Mapped[int]
    devices: Mapped[list[str]]
    gpus: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Of each: index, name, memory_bytes."""
    memory_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    versions: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    """Finishes what it runs and claims nothing."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Webhook(Created, Base):
    """An address that is told what happens to its owner's jobs."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))

    __table_args__ = (Index("ix_webhooks_owner", "owner"),)


class Delivery(Created, Base):
    """One message for one webhook: made in the transaction that it tells of, tried until it is taken."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str]
    job_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_at: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp())
    """When it is tried next; none: never again."""
    delivered_at: Mapped[datetime | None]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    attempt_log: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """What came of each attempt that was recorded, in their order, the latest few; bounded, so no table of its own."""

    __table_args__ = (
        Index("ix_deliveries_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    )
