"""Verdicts before a start, what they rest on, contacts, alarms and the messages about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "audience",
            sa.Enum(
                "caretaker",
                "duty",
                "office",
                "it",
                name="audience",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "channel",
            sa.Enum(
                "mail",
                "webhook",
                "log",
                name="channel",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("address", sa.String(length=2000), nullable=False),
        sa.Column("credential", sa.String(length=63), nullable=False),
        sa.Column("quiet", sa.String(length=11), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_contact_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_contact_site_id"), ["site_id"], unique=False)

    op.create_table(
        "notice",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("bundle", sa.String(length=32), nullable=False),
        sa.Column("contact_id", sa.String(length=63), nullable=True),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column(
            "level",
            sa.Enum(
                "day_before",
                "caretaker",
                "duty",
                "start",
                "recovered",
                name="level",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "channel",
            sa.Enum(
                "mail",
                "webhook",
                "log",
                name="channel",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text", sa.String(length=10000), nullable=False),
        sa.Column("link", sa.String(length=500), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "waiting",
                "sending",
                "sent",
                "failed",
                "dropped",
                name="noticestate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_notice_contact_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_notice_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("bundle", "contact_id", name=op.f("uq_notice_bundle_contact_id")),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notice_bundle"), ["bundle"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_contact_id"), ["contact_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_made_at"), ["made_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_room_id"), ["room_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_state"), ["state"], unique=False)

    op.create_table(
        "alarm",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("course_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column(
            "level",
            sa.Enum(
                "day_before",
                "caretaker",
                "duty",
                "start",
                "recovered",
                name="level",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reason_key", sa.String(length=64), nullable=False),
        sa.Column("reasons", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bundle", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name=op.f("fk_alarm_course_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_alarm_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
        sa.UniqueConstraint(
            "course_id",
            "course_start",
            "level",
            "reason_key",
            name=op.f("uq_alarm_course_id_course_start_level_reason_key"),
        ),
    )
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alarm_bundle"), ["bundle"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarm_course_id"), ["course_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarm_course_start"), ["course_start"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarm_room_id"), ["room_id"], unique=False)

    op.create_table(
        "checkpoint",
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("course_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "point",
            sa.Enum(
                "day",
                "hour",
                "quarter",
                name="point",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "ready",
                "degraded",
                "not_ready",
                "unknown",
                name="verdict",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reasons", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("evidence", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name=op.f("fk_checkpoint_course_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_checkpoint_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("course_id", "course_start", "point", name=op.f("pk_checkpoint")),
    )
    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_checkpoint_room_id"), ["room_id"], unique=False)

    with op.batch_alter_table("readiness", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "evidence",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=False,
                server_default="{}",
            )
        )


def downgrade() -> None:
    with op.batch_alter_table("readiness", schema=None) as batch_op:
        batch_op.drop_column("evidence")

    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_checkpoint_room_id"))

    op.drop_table("checkpoint")
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarm_room_id"))
        batch_op.drop_index(batch_op.f("ix_alarm_course_start"))
        batch_op.drop_index(batch_op.f("ix_alarm_course_id"))
        batch_op.drop_index(batch_op.f("ix_alarm_bundle"))

    op.drop_table("alarm")
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notice_state"))
        batch_op.drop_index(batch_op.f("ix_notice_room_id"))
        batch_op.drop_index(batch_op.f("ix_notice_made_at"))
        batch_op.drop_index(batch_op.f("ix_notice_contact_id"))
        batch_op.drop_index(batch_op.f("ix_notice_bundle"))

    op.drop_table("notice")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_contact_site_id"))

    op.drop_table("contact")
