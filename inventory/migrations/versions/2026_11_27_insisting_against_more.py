"""Who insists may have somebody counted down, and only an admin overrules a pause of everything."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = ("over_all", "countdown")


def upgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        for name in COLUMNS:
            batch_op.add_column(
                sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
            )


def downgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        for name in COLUMNS:
            batch_op.drop_column(name)
