"""Messages about incidents: of a site, not always of a room."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STEPS = ("day_before", "caretaker", "duty", "start", "recovered")
FAULTS = ("fault", "fault_over")


def upgrade() -> None:
    with op.batch_alter_table("notice") as notice:
        notice.add_column(sa.Column("site_id", sa.String(length=63), nullable=True))
    op.execute(
        "UPDATE notice SET site_id = (SELECT site_id FROM room WHERE room.id = notice.room_id)"
    )
    with op.batch_alter_table("notice") as notice:
        notice.alter_column("site_id", existing_type=sa.String(length=63), nullable=False)
        notice.alter_column("room_id", existing_type=sa.String(length=63), nullable=True)
        notice.create_foreign_key(
            op.f("fk_notice_site_id"), "site", ["site_id"], ["id"], ondelete="CASCADE"
        )
        notice.create_index(op.f("ix_notice_site_id"), ["site_id"], unique=False)
    _levels(STEPS + FAULTS)


def downgrade() -> None:
    op.execute("DELETE FROM notice WHERE level IN ('fault', 'fault_over')")
    with op.batch_alter_table("notice") as notice:
        notice.drop_index(op.f("ix_notice_site_id"))
        notice.drop_constraint(op.f("fk_notice_site_id"), type_="foreignkey")
        notice.alter_column("room_id", existing_type=sa.String(length=63), nullable=False)
        notice.drop_column("site_id")
    _levels(STEPS)


def _levels(words: tuple[str, ...]) -> None:
    condition = "level IN (" + ", ".join(f"'{word}'" for word in words) + ")"
    for table in ("alarm", "notice"):
        with op.batch_alter_table(table) as changed:
            changed.drop_constraint(op.f(f"ck_{table}_level"), type_="check")
            changed.create_check_constraint(op.f(f"ck_{table}_level"), condition)
