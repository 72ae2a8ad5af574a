"""Replay may read how far each partition has been archived."""

from alembic import op

revision = "0002_archive_sizes"
down_revision = "0001_archive"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Grant it; nothing else changes."""
    op.execute("GRANT SELECT ON archive.tree TO desk_replay")
