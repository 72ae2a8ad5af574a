"""Snapshots: which events of a long stream its state rests on (ADR 0019)."""

from alembic import op

revision = "0006_snapshots"
down_revision = "0005_timers_and_turns"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE kernel.snapshot (
    stream_id text NOT NULL,
    version integer NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    kept integer[] NOT NULL,
    PRIMARY KEY (stream_id, version)
);
COMMENT ON TABLE kernel.snapshot IS
    'of events up to sequence, those a state rests on; ends with the next one of its stream';

CREATE TABLE kernel.snapshot_key (
    stream_id text NOT NULL,
    version integer NOT NULL,
    key text NOT NULL,
    sequence integer NOT NULL,
    PRIMARY KEY (stream_id, version, key)
);
COMMENT ON TABLE kernel.snapshot_key IS
    'events up to the snapshot that commands ask for by key; at most one for each of the journal';
GRANT SELECT, INSERT, UPDATE, DELETE ON kernel.snapshot, kernel.snapshot_key TO desk_app;
"""


def upgrade() -> None:
    """Make the tables, empty: they fill from the journal as streams are read."""
    op.execute(TABLES)
