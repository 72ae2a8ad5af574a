"""Deliveries in lanes, numbers that can be raised, and beside each table what bounds it.

The version before goes on working meanwhile: what it inserts belongs to a stream of its own, and it
claims by the index `delivery_due`, which stays for it.
"""

from alembic import op

revision = "0004_deliveries"
down_revision = "0003_parked_timer"
branch_labels = None
depends_on = None

DELIVERIES = """
ALTER TABLE kernel.delivery
    ADD COLUMN stream_id text NOT NULL DEFAULT gen_random_uuid()::text,
    ADD COLUMN sequence bigint NOT NULL DEFAULT 0,
    ADD COLUMN lane uuid NOT NULL GENERATED ALWAYS AS (md5(target)::uuid) STORED,
    ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    DROP CONSTRAINT delivery_state_check,
    ADD CONSTRAINT delivery_state_check CHECK (state IN ('pending', 'sent', 'dead', 'discarded'));
COMMENT ON COLUMN kernel.delivery.since IS 'when it came to its state';
CREATE INDEX delivery_lane ON kernel.delivery (lane, next_at, sequence) WHERE state = 'pending';
CREATE INDEX delivery_stream ON kernel.delivery (lane, stream_id, sequence, id)
    WHERE state = 'pending';
CREATE INDEX delivery_state ON kernel.delivery (state, since);

CREATE TABLE kernel.lane (
    id uuid PRIMARY KEY,
    token bigint NOT NULL,
    claimed_until timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    is_quick boolean NOT NULL DEFAULT false,
    rest_until timestamptz NOT NULL DEFAULT '-infinity'
);
GRANT SELECT, INSERT, UPDATE, DELETE ON kernel.lane TO desk_app;
"""

NUMBERS = "GRANT SELECT, UPDATE ON SEQUENCE kernel.number TO desk_app;"

BOUNDS = """
COMMENT ON TABLE kernel.delivery IS
    'what leaves the desk; waiting 3 days it is dead, sent or discarded it goes after 14,'
    ' dead after 90';
COMMENT ON TABLE kernel.lane IS
    'how the receiver at one URL answers, and who sends to it; goes 30 days after its last use';
COMMENT ON TABLE kernel.lease IS
    'who does what: one per partition and chore, and one per replica,'
    ' which goes 1 day after its end';
COMMENT ON TABLE kernel.quarantine IS
    'records that could not be applied, which the log has too; redriven ones go after'
    ' 30 days, others after 365';
COMMENT ON TABLE kernel.timer IS 'instants at which rules are asked again; gone when fired';
COMMENT ON SEQUENCE kernel.number IS 'the last number given to anything; never goes back';
"""


def upgrade() -> None:
    """Only additions; see above."""
    op.execute(DELIVERIES)
    op.execute(NUMBERS)
    op.execute(BOUNDS)
