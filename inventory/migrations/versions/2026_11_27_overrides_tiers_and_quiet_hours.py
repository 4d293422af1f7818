"""What is said by hand, tiers of a reset, quiet hours."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "override",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "course",
                "cancel",
                "block",
                "skip",
                "pause",
                "maintenance",
                "stop",
                name="overridekind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("site_id", sa.String(length=63), nullable=True),
        sa.Column("room_id", sa.String(length=63), nullable=True),
        sa.Column("device_id", sa.String(length=63), nullable=True),
        sa.Column("recipe_id", sa.String(length=63), nullable=True),
        sa.Column("course_id", sa.Integer(), nullable=True),
        sa.Column("feed_id", sa.String(length=63), nullable=True),
        sa.Column("uid", sa.String(length=300), nullable=False),
        sa.Column("occurrence", sa.String(length=40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name=op.f("fk_override_course_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_override_device_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feed.id"], name=op.f("fk_override_feed_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["recipe_id"], ["recipe.id"], name=op.f("fk_override_recipe_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_override_room_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_override_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_override")),
    )
    with op.batch_alter_table("override", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_override_course_id"), ["course_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_override_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_override_feed_id"), ["feed_id"], unique=False)
        batch_op.create_index(
            "ix_override_in_force",
            ["until"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_override_recipe_id"), ["recipe_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_override_room_id"), ["room_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_override_site_id"), ["site_id"], unique=False)

    with op.batch_alter_table("recipe", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "tiers",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=False,
                server_default="{}",
            )
        )

    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "tier",
                sa.Enum(
                    "quick",
                    "standard",
                    "full",
                    name="tier",
                    native_enum=False,
                    create_constraint=True,
                    length=32,
                ),
                nullable=False,
                server_default="quick",
            )
        )
        batch_op.add_column(
            sa.Column(
                "tier_limit",
                sa.Enum(
                    "quick",
                    "standard",
                    "full",
                    name="tier_limit",
                    native_enum=False,
                    create_constraint=True,
                    length=32,
                ),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("plan_rev", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(
            sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column("why", sa.String(length=200), nullable=False, server_default="")
        )
        batch_op.create_index(batch_op.f("ix_reset_run_ordered_at"), ["ordered_at"], unique=False)

    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("quiet", sa.String(length=11), nullable=False, server_default="")
        )

    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(sa.Column("plan_rev", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("plan_rev")

    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.drop_column("quiet")

    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_reset_run_tier"), type_="check")
        batch_op.drop_constraint(op.f("ck_reset_run_tier_limit"), type_="check")
        batch_op.drop_index(batch_op.f("ix_reset_run_ordered_at"))
        batch_op.drop_column("why")
        batch_op.drop_column("forced")
        batch_op.drop_column("plan_rev")
        batch_op.drop_column("failures")
        batch_op.drop_column("tier_limit")
        batch_op.drop_column("tier")

    with op.batch_alter_table("recipe", schema=None) as batch_op:
        batch_op.drop_column("tiers")

    with op.batch_alter_table("override", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_override_site_id"))
        batch_op.drop_index(batch_op.f("ix_override_room_id"))
        batch_op.drop_index(batch_op.f("ix_override_recipe_id"))
        batch_op.drop_index(
            "ix_override_in_force",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_override_feed_id"))
        batch_op.drop_index(batch_op.f("ix_override_device_id"))
        batch_op.drop_index(batch_op.f("ix_override_course_id"))

    op.drop_table("override")
