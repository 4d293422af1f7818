"""A reset says in which room it was: its device may be carried elsewhere since."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

RUN = sa.table("reset_run", sa.column("room_id"), sa.column("device_id"), sa.column("course_id"))
DEVICE = sa.table("device", sa.column("id"), sa.column("room_id"))
COURSE = sa.table("course", sa.column("id"), sa.column("room_id"))


def upgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("room_id", sa.String(length=63), nullable=True))
        batch_op.create_foreign_key(
            "fk_reset_run_room_id", "room", ["room_id"], ["id"], ondelete="SET NULL"
        )
    # A course's room was its devices' room; of others only the present one is known.
    of_course = sa.select(COURSE.c.room_id).where(COURSE.c.id == RUN.c.course_id)
    of_device = sa.select(DEVICE.c.room_id).where(DEVICE.c.id == RUN.c.device_id)
    room = sa.func.coalesce(of_course.scalar_subquery(), of_device.scalar_subquery())
    op.execute(sa.update(RUN).values(room_id=room))


def downgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.drop_constraint("fk_reset_run_room_id", type_="foreignkey")
        batch_op.drop_column("room_id")
