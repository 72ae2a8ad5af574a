"""Timers are found by the instant from which they may fire."""

from alembic import op

revision = "0005_timers_and_turns"
down_revision = "0004_deliveries"
branch_labels = None
depends_on = None

TIMERS = """
CREATE INDEX timer_ready ON kernel.timer (greatest(due_at, armed_at));
DROP INDEX kernel.timer_due;
"""


def upgrade() -> None:
    """Replace the index on `due_at`; programs of the version before are right without it."""
    op.execute(TIMERS)
