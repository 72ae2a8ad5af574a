"""Timers are found by the instant from which they may fire; whose turn it is, is a number."""

from alembic import op

revision = "0005_timers_and_turns"
down_revision = "0004_deliveries"
branch_labels = None
depends_on = None

TIMERS = """
CREATE INDEX timer_ready ON kernel.timer (greatest(due_at, armed_at));
DROP INDEX kernel.timer_due;
"""

TURNS = """
CREATE TABLE kernel.turn (
    name text PRIMARY KEY,
    token bigint NOT NULL
);
COMMENT ON TABLE kernel.turn IS 'one row per thing done by one at a time; moved by who does it';
GRANT SELECT, INSERT, UPDATE ON kernel.turn TO desk_app;
"""


def upgrade() -> None:
    """Replace the index on `due_at`; programs of the version before are right without it."""
    op.execute(TIMERS)
    op.execute(TURNS)
