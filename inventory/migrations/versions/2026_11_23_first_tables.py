"""first tables"""
# ruff: noqa: PLR0915

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "region_admin",
                "municipal_it",
                "caretaker",
                "viewer",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("municipality", sa.String(length=200), nullable=True),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )
    op.create_table(
        "recipe",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("steps", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("expects", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("max_runtime_s", sa.Integer(), nullable=False),
        sa.Column("lead_s", sa.Integer(), nullable=True),
        sa.Column("settle_s", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipe")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("municipality", sa.String(length=200), nullable=False),
        sa.Column("phone", sa.String(length=50), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_municipality"), ["municipality"], unique=False)

    op.create_table(
        "one_time_link",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
            name=op.f("fk_one_time_link_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_one_time_link")),
    )
    with op.batch_alter_table("one_time_link", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_one_time_link_account_id"), ["account_id"], unique=False
        )

    op.create_table(
        "room",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("required", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_room_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
    )
    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_room_site_id"), ["site_id"], unique=False)

    op.create_table(
        "sign_in",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_sign_in_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sign_in")),
    )
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_sign_in_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "device",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "laptop",
                "tablet",
                "projector",
                "access_point",
                "switch",
                "printer",
                "display",
                "ups",
                name="devicekind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.String(length=100), nullable=False),
        sa.Column("mac", sa.String(length=17), nullable=False),
        sa.Column("driver", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("profile", sa.String(length=63), nullable=False),
        sa.Column("credential", sa.String(length=63), nullable=False),
        sa.Column("options", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("recipe_id", sa.String(length=63), nullable=True),
        sa.Column("spare", sa.Boolean(), nullable=False),
        sa.Column(
            "service",
            sa.Enum(
                "active",
                "repair",
                "lent",
                "retired",
                name="service",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("note", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(
            ["recipe_id"], ["recipe.id"], name=op.f("fk_device_recipe_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_device_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("code", name=op.f("uq_device_code")),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_device_recipe_id"), ["recipe_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_device_room_id"), ["room_id"], unique=False)

    op.create_table(
        "feed",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("max_age_s", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=200), nullable=False),
        sa.Column("modified", sa.String(length=100), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("good_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_feed_room_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_feed_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
    )
    with op.batch_alter_table("feed", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_feed_room_id"), ["room_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_feed_site_id"), ["site_id"], unique=False)

    op.create_table(
        "course",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("feed_id", sa.String(length=63), nullable=True),
        sa.Column("uid", sa.String(length=300), nullable=False),
        sa.Column("occurrence", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.CheckConstraint('"start" < "end"', name=op.f("ck_course_ends_after_start")),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feed.id"], name=op.f("fk_course_feed_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_course_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_course")),
        sa.UniqueConstraint(
            "feed_id", "uid", "occurrence", name=op.f("uq_course_feed_id_uid_occurrence")
        ),
    )
    with op.batch_alter_table("course", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_course_end"), ["end"], unique=False)
        batch_op.create_index(batch_op.f("ix_course_feed_id"), ["feed_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_course_room_id"), ["room_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_course_start"), ["start"], unique=False)

    op.create_table(
        "device_state",
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("facts", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("facts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "health",
            sa.Enum(
                "ok",
                "off",
                "warning",
                "failed",
                "unknown",
                name="health",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("health_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clean_run_id", sa.String(length=32), nullable=True),
        sa.Column("clean_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_device_state_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_device_state")),
    )
    with op.batch_alter_table("device_state", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_state_health"), ["health"], unique=False)

    op.create_table(
        "flip",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "subject",
            sa.Enum(
                "device",
                "room",
                name="subject",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("old", sa.String(length=32), nullable=False),
        sa.Column("new", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_flip_device_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_flip_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flip")),
    )
    with op.batch_alter_table("flip", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_flip_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_flip_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_flip_room_id"), ["room_id"], unique=False)

    op.create_table(
        "reading",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_reading_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading")),
    )
    with op.batch_alter_table("reading", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reading_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reading_taken_at"), ["taken_at"], unique=False)

    op.create_table(
        "report",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column(
            "problem",
            sa.Enum(
                "wont_start",
                "picture",
                "sound",
                "internet",
                "input",
                "damaged",
                "missing",
                "other",
                name="problem",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "impact",
            sa.Enum(
                "none",
                "with_spare",
                "blocked",
                name="impact",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("contact", sa.String(length=200), nullable=False),
        sa.Column("seconded", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "received",
                "in_progress",
                "done",
                name="reportstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_report_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("submission", name=op.f("uq_report_submission")),
        sa.UniqueConstraint("token", name=op.f("uq_report_token")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_report_reported_at"), ["reported_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_report_state"), ["state"], unique=False)

    op.create_table(
        "readiness",
        sa.Column("course_id", sa.Integer(), nullable=False),
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
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name=op.f("fk_readiness_course_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["room_id"], ["room.id"], name=op.f("fk_readiness_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("course_id", name=op.f("pk_readiness")),
    )
    with op.batch_alter_table("readiness", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_readiness_room_id"), ["room_id"], unique=False)

    op.create_table(
        "reset_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("course_id", sa.Integer(), nullable=True),
        sa.Column("course_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recipe_id", sa.String(length=63), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "planned",
                "ordered",
                "acted",
                "verified",
                "failed",
                "unknown",
                "expired",
                "dropped",
                name="runstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.String(length=40), nullable=True),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("evidence", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("requested_by", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name=op.f("fk_reset_run_course_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_reset_run_device_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["recipe_id"], ["recipe.id"], name=op.f("fk_reset_run_recipe_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reset_run")),
        sa.UniqueConstraint(
            "course_id",
            "device_id",
            "course_start",
            name=op.f("uq_reset_run_course_id_device_id_course_start"),
        ),
    )
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reset_run_course_id"), ["course_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reset_run_deadline"), ["deadline"], unique=False)
        batch_op.create_index(batch_op.f("ix_reset_run_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reset_run_planned_at"), ["planned_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_reset_run_recipe_id"), ["recipe_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reset_run_state"), ["state"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("reset_run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reset_run_state"))
        batch_op.drop_index(batch_op.f("ix_reset_run_recipe_id"))
        batch_op.drop_index(batch_op.f("ix_reset_run_planned_at"))
        batch_op.drop_index(batch_op.f("ix_reset_run_device_id"))
        batch_op.drop_index(batch_op.f("ix_reset_run_deadline"))
        batch_op.drop_index(batch_op.f("ix_reset_run_course_id"))

    op.drop_table("reset_run")
    with op.batch_alter_table("readiness", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_readiness_room_id"))

    op.drop_table("readiness")
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_report_state"))
        batch_op.drop_index(batch_op.f("ix_report_reported_at"))
        batch_op.drop_index(batch_op.f("ix_report_device_id"))

    op.drop_table("report")
    with op.batch_alter_table("reading", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reading_taken_at"))
        batch_op.drop_index(batch_op.f("ix_reading_device_id"))

    op.drop_table("reading")
    with op.batch_alter_table("flip", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_flip_room_id"))
        batch_op.drop_index(batch_op.f("ix_flip_device_id"))
        batch_op.drop_index(batch_op.f("ix_flip_at"))

    op.drop_table("flip")
    with op.batch_alter_table("device_state", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_state_health"))

    op.drop_table("device_state")
    with op.batch_alter_table("course", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_course_start"))
        batch_op.drop_index(batch_op.f("ix_course_room_id"))
        batch_op.drop_index(batch_op.f("ix_course_feed_id"))
        batch_op.drop_index(batch_op.f("ix_course_end"))

    op.drop_table("course")
    with op.batch_alter_table("feed", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_feed_site_id"))
        batch_op.drop_index(batch_op.f("ix_feed_room_id"))

    op.drop_table("feed")
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_room_id"))
        batch_op.drop_index(batch_op.f("ix_device_recipe_id"))
        batch_op.drop_index(batch_op.f("ix_device_kind"))

    op.drop_table("device")
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_expires_at"))
        batch_op.drop_index(batch_op.f("ix_sign_in_account_id"))

    op.drop_table("sign_in")
    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_room_site_id"))

    op.drop_table("room")
    with op.batch_alter_table("one_time_link", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_one_time_link_account_id"))

    op.drop_table("one_time_link")
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_site_municipality"))

    op.drop_table("site")
    op.drop_table("recipe")
    op.drop_table("account")
