"""The log port and its two logs: Apache Kafka, and PostgreSQL on one machine."""
