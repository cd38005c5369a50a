"""Pauses, limits, shared devices, garbage, webhooks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


HELD = "status IN ('running', 'pausing', 'cancelling')"
HELD_BEFORE = "status IN ('running', 'cancelling')"


def upgrade() -> None:
    _lease_index(HELD)
    op.create_table(
        "garbage",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garbage")),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_owner", "webhooks", ["owner"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_code", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_next_at",
        "deliveries",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_index("ix_deliveries_webhook_id_created_at", "deliveries", ["webhook_id", "created_at"], unique=False)
    op.add_column("checkpoints", sa.Column("promoted", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("checkpoints", sa.Column("damaged", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_checkpoints_storage_key", "checkpoints", ["storage_key"], unique=False)
    op.add_column("jobs", sa.Column("request_hash", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("key_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("retry_of", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("clone_of", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("attempt_started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("jobs", sa.Column("ran_seconds", sa.Double(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        "ix_jobs_depends_on",
        "jobs",
        ["depends_on"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index("ix_jobs_created_at_id", "jobs", ["created_at", "id"], unique=False)
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"], unique=False)
    op.create_index("ix_jobs_owner_request_hash", "jobs", ["owner", "request_hash"], unique=False)
    op.create_foreign_key(op.f("fk_jobs_key_id_keys"), "jobs", "keys", ["key_id"], ["id"], ondelete="SET NULL")
    op.add_column("keys", sa.Column("max_running", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("max_queued", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("max_gpus", sa.BigInteger(), nullable=True))
    op.add_column(
        "workers",
        sa.Column("gpus", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
    )
    op.add_column("workers", sa.Column("memory_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "workers",
        sa.Column("versions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("workers", sa.Column("draining", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.execute("UPDATE jobs SET status = 'queued' WHERE status = 'paused'")  # the schema before knows no pause
    op.execute("UPDATE jobs SET status = 'running' WHERE status = 'pausing'")
    _lease_index(HELD_BEFORE)
    op.drop_column("workers", "draining")
    op.drop_column("workers", "versions")
    op.drop_column("workers", "memory_bytes")
    op.drop_column("workers", "gpus")
    op.drop_column("keys", "max_gpus")
    op.drop_column("keys", "max_queued")
    op.drop_column("keys", "max_running")
    op.drop_constraint(op.f("fk_jobs_key_id_keys"), "jobs", type_="foreignkey")
    op.drop_index("ix_jobs_owner_request_hash", table_name="jobs")
    op.drop_index("ix_jobs_created_at_id", table_name="jobs")
    op.drop_index("ix_jobs_finished_at", table_name="jobs")
    op.drop_index(
        "ix_jobs_depends_on", table_name="jobs", postgresql_using="gin", postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_column("jobs", "ran_seconds")
    op.drop_column("jobs", "reports")
    op.drop_column("jobs", "attempt_started_at")
    op.drop_column("jobs", "clone_of")
    op.drop_column("jobs", "retry_of")
    op.drop_column("jobs", "key_id")
    op.drop_column("jobs", "request_hash")
    op.drop_index("ix_checkpoints_storage_key", table_name="checkpoints")
    op.drop_column("checkpoints", "damaged")
    op.drop_column("checkpoints", "promoted")
    op.drop_index("ix_deliveries_webhook_id_created_at", table_name="deliveries")
    op.drop_index("ix_deliveries_next_at", table_name="deliveries", postgresql_where=sa.text("next_at IS NOT NULL"))
    op.drop_table("deliveries")
    op.drop_index("ix_webhooks_owner", table_name="webhooks")
    op.drop_table("webhooks")
    op.drop_table("garbage")


def _lease_index(condition: str) -> None:
    op.drop_index("ix_jobs_lease_expires_at", table_name="jobs")
    op.create_index("ix_jobs_lease_expires_at", "jobs", ["lease_expires_at"], postgresql_where=sa.text(condition))
