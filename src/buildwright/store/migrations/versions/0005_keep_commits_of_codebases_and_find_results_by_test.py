"""Keep commits and branches of codebases; find results by their test."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "codebase_branches",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("codebaseid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("commitid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("codebaseid", "name"),
    )
    op.create_table(
        "codebase_commits",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("codebaseid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("committer", sa.Text(), nullable=True),
        sa.Column("comments", sa.Text(), nullable=False),
        sa.Column("when_us", sa.BigInteger(), nullable=False),
        sa.Column("parent_commitid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("codebaseid", "revision"),
    )
    op.create_index("commits_of_codebase", "codebase_commits", ["codebaseid", "id"], unique=False)
    op.create_index("results_of_name", "test_results", ["test_nameid", "id"], unique=False)
