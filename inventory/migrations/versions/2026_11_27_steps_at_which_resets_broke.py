"""A reset says at which step it broke; counters of resets gain a label."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("reset_run", "evidence")
TALLY = sa.table(
    "tally",
    sa.column("counter", sa.String),
    sa.column("labels", sa.String),
    sa.column("value", sa.Float),
)
COUNTERS = TALLY.c.counter.in_(("results", "failures"))


def upgrade() -> None:
    for table in TABLES:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column("step", sa.String(length=32), nullable=False, server_default="")
            )
    # Tier and step of what was counted before are not known any more: an empty label.
    op.execute(sa.update(TALLY).where(COUNTERS).values(labels=TALLY.c.labels + "\n"))


def downgrade() -> None:
    """What was counted by tier and step goes together again."""
    bind = op.get_bind()
    sums: dict[tuple[str, str], float] = {}
    for counter, labels, value in bind.execute(sa.select(TALLY).where(COUNTERS)):
        key = (counter, labels.rpartition("\n")[0])
        sums[key] = sums.get(key, 0.0) + value
    op.execute(sa.delete(TALLY).where(COUNTERS))
    rows = [{"counter": key[0], "labels": key[1], "value": value} for key, value in sums.items()]
    if rows:
        op.bulk_insert(TALLY, rows)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DROP COLUMN step")
