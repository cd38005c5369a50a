"""What an uploaded file was read as, where its rows have the columns of other tools."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    notes: sa.Column[list[str]] = sa.Column(
        "notes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
    )
    op.add_column("files", notes)


def downgrade() -> None:
    op.drop_column("files", "notes")
