"""Evidence of resets: rows that are only added, and seals over them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TABLES = ("evidence", "evidence_seal")


def upgrade() -> None:
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device_id", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("reset_id", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.String(length=63), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=False),
        sa.Column("started", MOMENT, nullable=True),
        sa.Column("finished", MOMENT, nullable=True),
        sa.Column("verified", MOMENT, nullable=True),
        sa.Column("script_hash", sa.String(length=100), nullable=False),
        sa.Column("skeleton_hash", sa.String(length=100), nullable=False),
        sa.Column("home_hash", sa.String(length=100), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
        sa.UniqueConstraint("device_id", "number", name="uq_evidence_device_id_number"),
    )
    op.create_index("ix_evidence_recorded_at", "evidence", ["recorded_at"])
    op.create_table(
        "evidence_seal",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed_at", MOMENT, nullable=False),
        sa.Column("heads", JSON, nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_evidence_seal"),
    )
    op.create_index("ix_evidence_seal_sealed_at", "evidence_seal", ["sealed_at"])
    _forbid_changes(op.get_bind().dialect.name)


def _forbid_changes(dialect: str) -> None:
    """What is written stays as it is. Rows go only when they are old; the chain shows others."""
    if dialect == "postgresql":
        op.execute(
            "CREATE FUNCTION evidence_stays() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'evidence is never changed'; END $$"
        )
    for table in TABLES:
        trigger = f"CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table} "
        op.execute(
            trigger + "FOR EACH ROW EXECUTE FUNCTION evidence_stays()"
            if dialect == "postgresql"
            else trigger + "BEGIN SELECT RAISE(ABORT, 'evidence is never changed'); END"
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION evidence_stays()")
