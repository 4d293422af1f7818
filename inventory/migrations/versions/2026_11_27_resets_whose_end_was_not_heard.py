"""A reset whose end was not heard keeps its place for as long as it may still be at work."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NAME = "ix_reset_run_busy_until"


def upgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("busy_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(NAME, ["busy_until"])


def downgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.drop_index(NAME)
        batch_op.drop_column("busy_until")
