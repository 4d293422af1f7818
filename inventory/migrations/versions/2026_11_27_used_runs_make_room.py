"""A reset whose proof was used up makes room for another before the same course."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = "ix_reset_run_one_per_course"
COLUMNS = ["course_id", "device_id", "course_start"]


def upgrade() -> None:
    _again("state <> 'dropped' AND used_at IS NULL")


def downgrade() -> None:
    op.execute("DELETE FROM reset_run WHERE used_at IS NOT NULL AND state <> 'dropped'")
    _again("state <> 'dropped'")


def _again(where: str) -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.drop_index(NAME)
        batch_op.create_index(
            NAME, COLUMNS, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
