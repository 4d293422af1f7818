"""Of CSV and XML timetables, nothing is kept any more that was stored with all columns."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE feed_snapshot SET body = NULL WHERE feed_id IN"
        " (SELECT id FROM feed WHERE kind IN ('csv', 'xml'))"
    )


def downgrade() -> None:
    """There is nothing to bring back."""
