"""The archive: every raw record of every topic, and the Merkle tree over each partition."""

from alembic import op

revision = "0001_archive"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA archive;

CREATE TABLE archive.record (
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    key bytea,
    value bytea,
    timestamp_ms bigint NOT NULL,
    writer text,
    subject text,
    sequence integer,
    PRIMARY KEY (topic, partition, record_offset)
);
CREATE INDEX record_subject ON archive.record (subject, writer, sequence);
COMMENT ON TABLE archive.record IS 'every record as it was read; append-only';

CREATE TABLE archive.tree (
    topic text NOT NULL,
    partition integer NOT NULL,
    size bigint NOT NULL,
    peaks bytea[] NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE archive.tree IS 'RFC 6962: the roots of full subtrees';

GRANT USAGE ON SCHEMA archive TO desk_app, desk_replay;
GRANT SELECT, INSERT ON archive.record TO desk_app;
GRANT SELECT, INSERT, UPDATE ON archive.tree TO desk_app;
GRANT SELECT ON archive.record TO desk_replay;
"""


def upgrade() -> None:
    """Make the tables; nobody may change or delete what is archived."""
    op.execute(TABLES)
