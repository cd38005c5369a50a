"""Whether a job was made by a repetition that came before its original request."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "made_by_repetition", sa.Boolean(), server_default=sa.text("false"), nullable=False
    )
    op.add_column("jobs", column)


def downgrade() -> None:
    op.drop_column("jobs", "made_by_repetition")
