"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

TABLES = """
account recipe site tally agent_contact one_time_link room sign_in device feed course
device_state flip reading report readiness reset_run
"""


def words(name: str, values: str) -> sa.Enum:
    """A text column that a CHECK holds to these values."""
    return sa.Enum(*values.split(), name=name, native_enum=False, create_constraint=True, length=32)


def points(table: str, column: str, target: str, keep: bool = False) -> sa.ForeignKeyConstraint:
    """A foreign key; `keep`: the target cannot be deleted, else it takes these rows along."""
    name = f"fk_{table}_{column}"
    ondelete = "RESTRICT" if keep else "CASCADE"
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete=ondelete)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column(
            "role", words("role", "region_admin municipal_it caretaker viewer"), nullable=False
        ),
        sa.Column("municipality", sa.String(length=200), nullable=True),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("name", name="uq_account_name"),
    )

    op.create_table(
        "recipe",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("steps", JSON, nullable=False),
        sa.Column("expects", JSON, nullable=False),
        sa.Column("max_runtime_s", sa.Integer(), nullable=False),
        sa.Column("lead_s", sa.Integer(), nullable=True),
        sa.Column("settle_s", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recipe"),
    )

    op.create_table(
        "site",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("municipality", sa.String(length=200), nullable=False),
        sa.Column("phone", sa.String(length=50), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_site"),
    )
    op.create_index("ix_site_municipality", "site", ["municipality"])

    op.create_table(
        "tally",
        sa.Column("counter", sa.String(length=63), nullable=False),
        sa.Column("labels", sa.String(length=300), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("counter", "labels", name="pk_tally"),
    )

    op.create_table(
        "agent_contact",
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("ahead_s", sa.Float(), nullable=False),
        sa.Column("version", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("targets", sa.Integer(), nullable=False),
        sa.Column("polls", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.BigInteger(), nullable=False),
        points("agent_contact", "site_id", "site.id"),
        sa.PrimaryKeyConstraint("site_id", name="pk_agent_contact"),
    )

    op.create_table(
        "one_time_link",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        points("one_time_link", "account_id", "account.id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_one_time_link"),
    )
    op.create_index("ix_one_time_link_account_id", "one_time_link", ["account_id"])

    op.create_table(
        "room",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("required", JSON, nullable=False),
        points("room", "site_id", "site.id"),
        sa.PrimaryKeyConstraint("id", name="pk_room"),
    )
    op.create_index("ix_room_site_id", "room", ["site_id"])

    op.create_table(
        "sign_in",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        points("sign_in", "account_id", "account.id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sign_in"),
    )
    op.create_index("ix_sign_in_account_id", "sign_in", ["account_id"])
    op.create_index("ix_sign_in_expires_at", "sign_in", ["expires_at"])

    op.create_table(
        "device",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "kind",
            words("devicekind", "laptop tablet projector access_point switch printer display ups"),
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
        sa.Column("options", JSON, nullable=False),
        sa.Column("recipe_id", sa.String(length=63), nullable=True),
        sa.Column("spare", sa.Boolean(), nullable=False),
        sa.Column("service", words("service", "active repair lent retired"), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("note", sa.String(length=2000), nullable=False),
        points("device", "recipe_id", "recipe.id", keep=True),
        points("device", "room_id", "room.id"),
        sa.PrimaryKeyConstraint("id", name="pk_device"),
        sa.UniqueConstraint("code", name="uq_device_code"),
    )
    op.create_index("ix_device_kind", "device", ["kind"])
    op.create_index("ix_device_recipe_id", "device", ["recipe_id"])
    op.create_index("ix_device_room_id", "device", ["room_id"])

    op.create_table(
        "feed",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("max_age_s", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=200), nullable=False),
        sa.Column("modified", sa.String(length=100), nullable=False),
        sa.Column("tried_at", MOMENT, nullable=True),
        sa.Column("good_at", MOMENT, nullable=True),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        points("feed", "room_id", "room.id"),
        points("feed", "site_id", "site.id"),
        sa.PrimaryKeyConstraint("id", name="pk_feed"),
    )
    op.create_index("ix_feed_room_id", "feed", ["room_id"])
    op.create_index("ix_feed_site_id", "feed", ["site_id"])

    op.create_table(
        "course",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("feed_id", sa.String(length=63), nullable=True),
        sa.Column("uid", sa.String(length=300), nullable=False),
        sa.Column("occurrence", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("start", MOMENT, nullable=False),
        sa.Column("end", MOMENT, nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.CheckConstraint('"start" < "end"', name="ends_after_start"),
        points("course", "feed_id", "feed.id"),
        points("course", "room_id", "room.id"),
        sa.PrimaryKeyConstraint("id", name="pk_course"),
        sa.UniqueConstraint(
            "feed_id", "uid", "occurrence", name="uq_course_feed_id_uid_occurrence"
        ),
    )
    op.create_index("ix_course_end", "course", ["end"])
    op.create_index("ix_course_feed_id", "course", ["feed_id"])
    op.create_index("ix_course_room_id", "course", ["room_id"])
    op.create_index("ix_course_start", "course", ["start"])

    op.create_table(
        "device_state",
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("facts", JSON, nullable=False),
        sa.Column("facts_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("kept_at", MOMENT, nullable=True),
        sa.Column("health", words("health", "ok off warning failed unknown"), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("health_since", MOMENT, nullable=True),
        sa.Column("clean_run_id", sa.String(length=32), nullable=True),
        sa.Column("clean_at", MOMENT, nullable=True),
        points("device_state", "device_id", "device.id"),
        sa.PrimaryKeyConstraint("device_id", name="pk_device_state"),
    )
    op.create_index("ix_device_state_health", "device_state", ["health"])

    op.create_table(
        "flip",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("subject", words("subject", "device room"), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("old", sa.String(length=32), nullable=False),
        sa.Column("new", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        points("flip", "device_id", "device.id"),
        points("flip", "room_id", "room.id"),
        sa.PrimaryKeyConstraint("id", name="pk_flip"),
    )
    op.create_index("ix_flip_at", "flip", ["at"])
    op.create_index("ix_flip_device_id", "flip", ["device_id"])
    op.create_index("ix_flip_room_id", "flip", ["room_id"])

    op.create_table(
        "reading",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        points("reading", "device_id", "device.id"),
        sa.PrimaryKeyConstraint("id", name="pk_reading"),
    )
    op.create_index("ix_reading_device_id", "reading", ["device_id"])
    op.create_index("ix_reading_taken_at", "reading", ["taken_at"])

    op.create_table(
        "report",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column(
            "problem",
            words("problem", "wont_start picture sound internet input damaged missing other"),
            nullable=False,
        ),
        sa.Column("impact", words("impact", "none with_spare blocked"), nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("contact", sa.String(length=200), nullable=False),
        sa.Column("seconded", sa.Integer(), nullable=False),
        sa.Column("state", words("reportstate", "received in_progress done"), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        points("report", "device_id", "device.id"),
        sa.PrimaryKeyConstraint("id", name="pk_report"),
        sa.UniqueConstraint("submission", name="uq_report_submission"),
        sa.UniqueConstraint("token", name="uq_report_token"),
    )
    op.create_index("ix_report_device_id", "report", ["device_id"])
    op.create_index("ix_report_reported_at", "report", ["reported_at"])
    op.create_index("ix_report_state", "report", ["state"])

    op.create_table(
        "readiness",
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("room_id", sa.String(length=63), nullable=False),
        sa.Column("verdict", words("verdict", "ready degraded not_ready unknown"), nullable=False),
        sa.Column("reasons", JSON, nullable=False),
        sa.Column("judged_at", MOMENT, nullable=False),
        points("readiness", "course_id", "course.id"),
        points("readiness", "room_id", "room.id"),
        sa.PrimaryKeyConstraint("course_id", name="pk_readiness"),
    )
    op.create_index("ix_readiness_room_id", "readiness", ["room_id"])

    op.create_table(
        "reset_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("course_id", sa.Integer(), nullable=True),
        sa.Column("course_start", MOMENT, nullable=True),
        sa.Column("recipe_id", sa.String(length=63), nullable=False),
        sa.Column(
            "state",
            words("runstate", "planned ordered acted verified failed unknown expired dropped"),
            nullable=False,
        ),
        sa.Column("planned_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("not_after", MOMENT, nullable=False),
        sa.Column("deadline", MOMENT, nullable=False),
        sa.Column("next_try_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.String(length=40), nullable=True),
        sa.Column("ordered_at", MOMENT, nullable=True),
        sa.Column("acted_at", MOMENT, nullable=True),
        sa.Column("looked_at", MOMENT, nullable=True),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("requested_by", sa.String(length=100), nullable=False),
        points("reset_run", "course_id", "course.id"),
        points("reset_run", "device_id", "device.id"),
        points("reset_run", "recipe_id", "recipe.id", keep=True),
        sa.PrimaryKeyConstraint("id", name="pk_reset_run"),
    )
    op.create_index(
        "ix_reset_run_one_per_course",
        "reset_run",
        ["course_id", "device_id", "course_start"],
        unique=True,
        sqlite_where=sa.text("state <> 'dropped'"),
        postgresql_where=sa.text("state <> 'dropped'"),
    )
    op.create_index(
        "ix_reset_run_one_under_way",
        "reset_run",
        ["device_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('ordered', 'acted')"),
        postgresql_where=sa.text("state IN ('ordered', 'acted')"),
    )
    op.create_index("ix_reset_run_course_id", "reset_run", ["course_id"])
    op.create_index("ix_reset_run_deadline", "reset_run", ["deadline"])
    op.create_index("ix_reset_run_device_id", "reset_run", ["device_id"])
    op.create_index("ix_reset_run_planned_at", "reset_run", ["planned_at"])
    op.create_index("ix_reset_run_recipe_id", "reset_run", ["recipe_id"])
    op.create_index("ix_reset_run_state", "reset_run", ["state"])


def downgrade() -> None:
    for table in reversed(TABLES.split()):
        op.drop_table(table)
