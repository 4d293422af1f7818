"""Incidents, predictions, what hangs on what, thresholds of sites, devices and sorts of courses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "course_kind",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=True),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("profile", sa.String(length=63), nullable=False),
        sa.Column("thresholds", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_course_kind_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_course_kind")),
    )
    with op.batch_alter_table("course_kind", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_course_kind_site_id"), ["site_id"], unique=False)

    op.create_table(
        "incident",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=True),
        sa.Column("cause", sa.String(length=63), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("affected", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "closed_at IS NULL OR closed_at >= opened_at", name=op.f("ck_incident_closes_after")
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_incident_device_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_incident_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_incident_closed_at"), ["closed_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_incident_device_id"), ["device_id"], unique=False)
        batch_op.create_index(
            "ix_incident_one_open",
            ["site_id", "cause"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_incident_opened_at"), ["opened_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_incident_site_id"), ["site_id"], unique=False)

    op.create_table(
        "prediction",
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_prediction_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_id", "code", name=op.f("pk_prediction")),
    )
    with op.batch_alter_table("prediction", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_prediction_due_at"), ["due_at"], unique=False)

    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("uplink_id", sa.String(length=63), nullable=True))
        batch_op.add_column(sa.Column("power_id", sa.String(length=63), nullable=True))
        batch_op.add_column(
            sa.Column(
                "thresholds",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=False,
                server_default="{}",
            )
        )
        batch_op.create_index(batch_op.f("ix_device_power_id"), ["power_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_device_uplink_id"), ["uplink_id"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_device_power_id"),
            "device",
            ["power_id"],
            ["id"],
            ondelete="SET NULL",
            initially="DEFERRED",
            deferrable=True,
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_device_uplink_id"),
            "device",
            ["uplink_id"],
            ["id"],
            ondelete="SET NULL",
            initially="DEFERRED",
            deferrable=True,
        )

    with op.batch_alter_table("device_state", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "losses",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=False,
                server_default="[]",
            )
        )
        batch_op.add_column(
            sa.Column("cause", sa.String(length=63), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("cut_off_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("trends_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "thresholds",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=False,
                server_default="{}",
            )
        )


def downgrade() -> None:
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("thresholds")

    with op.batch_alter_table("device_state", schema=None) as batch_op:
        batch_op.drop_column("trends_at")
        batch_op.drop_column("cut_off_at")
        batch_op.drop_column("cause")
        batch_op.drop_column("losses")

    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_device_uplink_id"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("fk_device_power_id"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_device_uplink_id"))
        batch_op.drop_index(batch_op.f("ix_device_power_id"))
        batch_op.drop_column("thresholds")
        batch_op.drop_column("power_id")
        batch_op.drop_column("uplink_id")

    with op.batch_alter_table("prediction", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_prediction_due_at"))

    op.drop_table("prediction")
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incident_site_id"))
        batch_op.drop_index(batch_op.f("ix_incident_opened_at"))
        batch_op.drop_index(
            "ix_incident_one_open",
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_incident_device_id"))
        batch_op.drop_index(batch_op.f("ix_incident_closed_at"))

    op.drop_table("incident")
    with op.batch_alter_table("course_kind", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_course_kind_site_id"))

    op.drop_table("course_kind")
