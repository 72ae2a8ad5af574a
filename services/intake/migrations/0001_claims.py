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
    'who may report as which CloudEvents source over HTTP, 1,000 at most for a subject;'
    ' nobody as one of the log';

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

INSERT INTO desk.source VALUES ('servicenow', '');

INSERT INTO desk.passed_over SELECT 1, last_value FROM kernel.number WHERE is_called;

GRANT USAGE ON SCHEMA desk TO desk_app;
GRANT SELECT, INSERT, UPDATE ON desk.source, desk.taken_number, desk.passed_over TO desk_app;
"""


def upgrade() -> None:
    """Make the tables.

    The ids of an import are derived from its source, so that is nobody's from the start. Imports
    begun before passed numbers over and kept no note of it: any up to here that nobody has may be.
    """
    op.execute(TABLES)
