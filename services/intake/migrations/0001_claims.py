"""What belongs to whom at the doors: sources to systems, numbers to imported tickets."""

from alembic import op

revision = "0001_claims"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA desk;

CREATE TABLE desk.source (
    source text PRIMARY KEY,
    subject text NOT NULL
);
CREATE INDEX source_of ON desk.source (subject, source);
COMMENT ON TABLE desk.source IS
    'who may report as which CloudEvents source over HTTP; 1,000 at most for a subject';

CREATE TABLE desk.taken_number (
    number text PRIMARY KEY,
    ticket_id text NOT NULL
);
COMMENT ON TABLE desk.taken_number IS
    'numbers of tickets taken over from other desks; one row for each of these';

CREATE TABLE desk.passed_over (
    first bigint NOT NULL,
    last bigint PRIMARY KEY
);
COMMENT ON TABLE desk.passed_over IS
    'numbers that an import reserved and this desk gives to nobody; a row at most for each batch';

GRANT USAGE ON SCHEMA desk TO desk_app;
GRANT SELECT, INSERT, UPDATE ON desk.source, desk.taken_number, desk.passed_over TO desk_app;
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)
