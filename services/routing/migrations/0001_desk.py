"""What routing decides by: who has which ticket, who has room, who waits (ADR 0016)."""

from alembic import op

revision = "0001_desk"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA desk;

CREATE TABLE desk.agent (
    agent_id text PRIMARY KEY,
    "group" text NOT NULL,
    skills text[] NOT NULL,
    is_available boolean NOT NULL,
    workload integer NOT NULL,
    workload_max integer NOT NULL,
    name text NOT NULL,
    line integer NOT NULL,
    sequence integer NOT NULL,
    is_asking boolean NOT NULL
);
CREATE INDEX agent_of_group ON desk.agent ("group", agent_id);
CREATE INDEX agent_asking ON desk.agent (workload, agent_id) WHERE is_asking;
COMMENT ON TABLE desk.agent IS 'the roster; workload counts the open tickets an agent has';

CREATE TABLE desk.seat (
    "group" text NOT NULL,
    skill text NOT NULL,
    workload integer NOT NULL,
    agent_id text NOT NULL,
    PRIMARY KEY ("group", skill, workload, agent_id)
);
CREATE INDEX seat_of_agent ON desk.seat (agent_id);
COMMENT ON TABLE desk.seat IS
    'who has room, once for each skill and once for none; at most 101 rows for an agent';

CREATE TABLE desk.ticket (
    ticket_id text PRIMARY KEY,
    sequence integer NOT NULL,
    priority text,
    impact text,
    urgency text,
    "group" text,
    agent_id text,
    line integer NOT NULL,
    reassignment_count integer NOT NULL,
    escalation_count integer NOT NULL,
    is_by_hand boolean NOT NULL,
    record_seq integer NOT NULL,
    category text,
    reported_impact text,
    reported_urgency text,
    people integer,
    sites integer,
    created_at timestamptz,
    progress_seq integer NOT NULL,
    is_open boolean NOT NULL,
    is_live boolean NOT NULL,
    skill text NOT NULL,
    policy_version integer NOT NULL,
    is_waiting boolean NOT NULL GENERATED ALWAYS AS (
        is_live AND is_open AND created_at IS NOT NULL AND "group" IS NOT NULL AND agent_id IS NULL
    ) STORED
);
CREATE INDEX ticket_waiting ON desk.ticket ("group", skill, priority, created_at, ticket_id)
    WHERE is_waiting;
CREATE INDEX ticket_outdated ON desk.ticket (policy_version) WHERE is_waiting;
CREATE INDEX ticket_of_agent ON desk.ticket (agent_id) WHERE is_open AND agent_id IS NOT NULL;
CREATE INDEX ticket_open ON desk.ticket ("group", priority, agent_id)
    WHERE is_open AND "group" IS NOT NULL;
COMMENT ON TABLE desk.ticket IS
    'what decisions about a ticket rest on; one row for each ticket, since any may be reopened';

CREATE TABLE desk.breach (
    ticket_id text NOT NULL,
    target text NOT NULL,
    cycle integer NOT NULL,
    generation integer NOT NULL,
    sequence integer NOT NULL,
    event_id text NOT NULL,
    correlation_id text NOT NULL,
    due_at timestamptz,
    is_pending boolean NOT NULL,
    PRIMARY KEY (ticket_id, target, cycle, generation)
);
CREATE INDEX breach_pending ON desk.breach (ticket_id) WHERE is_pending;
COMMENT ON TABLE desk.breach IS
    'clocks that broke a promise; pending until the ticket is known; one row for each such clock';

GRANT USAGE ON SCHEMA desk TO desk_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON desk.agent, desk.seat, desk.ticket, desk.breach
    TO desk_app;
"""


def upgrade() -> None:
    """Make the tables; the service fills them when it starts."""
    op.execute(TABLES)
