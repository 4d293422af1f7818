"""Feeds of every kind, their snapshots, blocks, and addresses for calendar programs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
KIND = sa.Enum(
    *("ics", "caldav", "csv", "xml"),
    name="feedkind",
    native_enum=False,
    create_constraint=True,
    length=32,
)


def points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "calendar_link",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.String(length=63), nullable=True),
        sa.Column("room_id", sa.String(length=63), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        points("calendar_link", "account_id", "account.id"),
        points("calendar_link", "room_id", "room.id"),
        points("calendar_link", "site_id", "site.id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_calendar_link"),
    )
    for column in ("account_id", "room_id", "site_id"):
        op.create_index(f"ix_calendar_link_{column}", "calendar_link", [column])

    op.create_table(
        "feed_snapshot",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("feed_id", sa.String(length=63), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("coming", sa.Integer(), nullable=False),
        sa.Column("warnings", JSON, nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        points("feed_snapshot", "feed_id", "feed.id"),
        sa.PrimaryKeyConstraint("id", name="pk_feed_snapshot"),
    )
    for column in ("feed_id", "taken_at"):
        op.create_index(f"ix_feed_snapshot_{column}", "feed_snapshot", [column])

    with op.batch_alter_table("course") as course:
        course.add_column(
            sa.Column("block", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("feed") as feed:
        feed.add_column(sa.Column("kind", KIND, nullable=False, server_default="ics"))
        feed.add_column(sa.Column("options", JSON, nullable=False, server_default="{}"))
        feed.add_column(
            sa.Column("credential", sa.String(length=63), nullable=False, server_default="")
        )
        feed.add_column(
            sa.Column("confirmed", sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    with op.batch_alter_table("feed") as feed:
        feed.drop_constraint(op.f("ck_feed_feedkind"), type_="check")
        for column in ("confirmed", "credential", "options", "kind"):
            feed.drop_column(column)
    with op.batch_alter_table("course") as course:
        course.drop_column("block")
    op.drop_table("feed_snapshot")
    op.drop_table("calendar_link")
