"""The kernel's tables, the same in every service's database, and who may do what with them."""

from alembic import op

revision = "0001_kernel"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA kernel;

CREATE TABLE kernel.journal (
    stream_id text NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    type text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (stream_id, sequence)
);
COMMENT ON TABLE kernel.journal IS 'every event this service ever made, as sent; append-only';

CREATE TABLE kernel.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id text NOT NULL,
    sequence integer NOT NULL
);
COMMENT ON TABLE kernel.outbox IS 'journal rows that the log has not acknowledged yet';

CREATE TABLE kernel.lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE kernel.consumer_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE kernel.consumer_offset IS 'moved by compare-and-set with the rows it produced';

CREATE TABLE kernel.timer (
    stream_id text NOT NULL,
    name text NOT NULL,
    due_at timestamptz NOT NULL,
    armed_at timestamptz NOT NULL,
    PRIMARY KEY (stream_id, name)
);
CREATE INDEX timer_due ON kernel.timer (due_at);

CREATE TABLE kernel.delivery (
    id uuid PRIMARY KEY,
    target text NOT NULL,
    body bytea NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    last_error text
);
CREATE INDEX delivery_due ON kernel.delivery (next_at) WHERE state = 'pending';

CREATE TABLE kernel.quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    key bytea,
    value bytea,
    timestamp_ms bigint NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    parked_at timestamptz NOT NULL,
    redriven_at timestamptz,
    UNIQUE (topic, partition, record_offset)
);

CREATE SEQUENCE kernel.number;
"""

ROLES = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'desk_app') THEN
        CREATE ROLE desk_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'desk_replay') THEN
        CREATE ROLE desk_replay NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'desk_app', 'MEMBER') THEN
        EXECUTE format('GRANT desk_app TO %I', current_user);
    END IF;
    IF NOT pg_has_role(current_user, 'desk_replay', 'MEMBER') THEN
        EXECUTE format('GRANT desk_replay TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO desk_replay', current_database());
END $$;
"""

GRANTS = """
GRANT USAGE ON SCHEMA kernel TO desk_app, desk_replay;
GRANT SELECT, INSERT ON kernel.journal TO desk_app;
GRANT SELECT, INSERT, DELETE ON kernel.outbox TO desk_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    kernel.lease, kernel.consumer_offset, kernel.timer, kernel.delivery, kernel.quarantine
    TO desk_app;
GRANT USAGE ON SEQUENCE kernel.number TO desk_app;
GRANT SELECT ON kernel.journal, kernel.consumer_offset TO desk_replay;
GRANT UPDATE ON kernel.consumer_offset TO desk_replay;
"""


def upgrade() -> None:
    """Make tables, roles and grants. The journal gets neither UPDATE nor DELETE (R5)."""
    op.execute(TABLES)
    op.execute(ROLES)
    op.execute(GRANTS)
