"""Timers whose decision always fails: set aside, so that the others fire."""

from alembic import op

revision = "0003_parked_timer"
down_revision = "0002_live_fold"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE kernel.parked_timer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id text NOT NULL,
    name text NOT NULL,
    due_at timestamptz NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    parked_at timestamptz NOT NULL,
    UNIQUE (stream_id, name)
);
COMMENT ON TABLE kernel.parked_timer IS
    'due, but their decision failed alone; gone when redriven, or when their stream is judged anew';

GRANT SELECT, INSERT, UPDATE, DELETE ON kernel.parked_timer TO desk_app;
"""


def upgrade() -> None:
    """Make the table; who runs an older version never looks at it."""
    op.execute(TABLES)
