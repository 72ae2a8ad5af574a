"""Which version of its read model a service shows, and which replica last ran which version."""

from alembic import op

revision = "0002_live_fold"
down_revision = "0001_kernel"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE kernel.live_fold (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    fingerprint text NOT NULL
);
COMMENT ON TABLE kernel.live_fold IS 'whose transactions count; changed when models are switched';
INSERT INTO kernel.live_fold (fingerprint)
SELECT fingerprint FROM (
    SELECT obj_description(oid, 'pg_namespace') AS fingerprint FROM pg_namespace
    WHERE nspname = 'read'
) made WHERE fingerprint IS NOT NULL;

CREATE TABLE kernel.fold_run (
    holder text PRIMARY KEY,
    fingerprint text NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE kernel.fold_run IS
    'what each replica last ran; one that was not seen for 30 days is forgotten';
"""

GRANTS = """
GRANT SELECT, UPDATE (only_one) ON kernel.live_fold TO desk_app;
GRANT SELECT, INSERT, UPDATE ON kernel.live_fold TO desk_replay;
GRANT SELECT, INSERT, UPDATE, DELETE ON kernel.fold_run TO desk_app, desk_replay;
"""


def upgrade() -> None:
    """Make the tables. Who locks the row that names the live fold needs a right to change it."""
    op.execute(TABLES)
    op.execute(GRANTS)
