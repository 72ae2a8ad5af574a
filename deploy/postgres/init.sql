-- Five databases in one server, each with a login that owns it and may open no other.
-- Runs once, as superuser, with psql; passwords come from <SERVICE>_DATABASE_PASSWORD.
-- The roles are the server's, so a service may not make them: the migrations find them here.
-- The log keeps no statement of this session, for some carry a password.

\set ON_ERROR_STOP on
SET log_statement = 'none';
SET log_min_error_statement = 'panic';

CREATE ROLE desk_app NOLOGIN;
CREATE ROLE desk_replay NOLOGIN;

\getenv intake_password INTAKE_DATABASE_PASSWORD
\getenv routing_password ROUTING_DATABASE_PASSWORD
\getenv sla_password SLA_DATABASE_PASSWORD
\getenv knowledge_password KNOWLEDGE_DATABASE_PASSWORD
\getenv reporting_password REPORTING_DATABASE_PASSWORD

CREATE ROLE intake LOGIN PASSWORD :'intake_password';
CREATE ROLE routing LOGIN PASSWORD :'routing_password';
CREATE ROLE sla LOGIN PASSWORD :'sla_password';
CREATE ROLE knowledge LOGIN PASSWORD :'knowledge_password';
CREATE ROLE reporting LOGIN PASSWORD :'reporting_password';

GRANT desk_app, desk_replay TO intake, routing, sla, knowledge, reporting;

CREATE DATABASE intake OWNER intake;
CREATE DATABASE routing OWNER routing;
CREATE DATABASE sla OWNER sla;
CREATE DATABASE knowledge OWNER knowledge;
CREATE DATABASE reporting OWNER reporting;

-- All five logins are members of desk_app, so the door of each database has to be shut.
REVOKE ALL ON DATABASE intake, routing, sla, knowledge, reporting FROM PUBLIC;
