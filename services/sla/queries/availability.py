"""What was told of services, and how available they were."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Final

from services.sla.domain.services.availability import (
    AvailabilityQuery,
    AvailabilityTarget,
    Downtime,
    ServiceHistory,
    ServiceReadings,
    failures_of,
    joined,
    reading,
)
from services.sla.domain.services.periods import Span
from services.sla.domain.services.views import MaintenanceView, OutageView
from services.sla.queries.rules import decoded
from shared.calendar import LATEST_US, WorkingCalendar, instant, microseconds
from shared.contracts.availability import ServiceEvent
from shared.contracts.registry import decode_shared
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import NotFoundError
from shared.journal.journal import Journal
from shared.postgres.pool import Connection, Pool

_KNOWN_SINCE: Final = """
SELECT service, min(at) AS since FROM (
    SELECT service, CASE WHEN NOT is_withdrawn THEN started_at END AS at FROM read.outage
    UNION ALL SELECT service, NULL FROM read.maintenance
    UNION ALL SELECT service, promised_at FROM read.availability
) told GROUP BY service ORDER BY service
"""
"""Each service with the instant since when it is watched, if it is.

An outage that holds or a promise says that somebody watches. Maintenance does not: one of years ago
would make years of perfect up time.
"""


async def read_first_teller(connection: Connection, document: ServiceEvent) -> str | None:
    """Return who was first to tell of this document, None if nobody did."""
    value = await connection.fetchval(
        "SELECT value FROM kernel.journal WHERE stream_id = $1 AND type = $2"
        " ORDER BY sequence LIMIT 1",
        *(document.stream_id, document.TYPE),
    )
    return None if value is None else decode_shared(document.TYPE, value).actor


async def list_outages(pool: Pool, asked: AvailabilityQuery, *, limit: int) -> list[OutageView]:
    """Return outages that touch the time, also those withdrawn, the one that began last first."""
    rows = await pool.fetch(
        "SELECT outage_id, service, started_at, ended_at, source, ticket_id, is_withdrawn"
        " FROM read.outage WHERE ($1::text IS NULL OR service = $1) AND started_at < $3"
        " AND coalesce(ended_at >= $2, true) ORDER BY started_at DESC, outage_id LIMIT $4",
        *(asked.service, *asked.instants(), limit),
    )
    return [OutageView(*row) for row in rows]


async def list_maintenance(
    pool: Pool, asked: AvailabilityQuery, *, limit: int
) -> list[MaintenanceView]:
    """Return maintenance that touches the time, also what is cancelled, the last first."""
    rows = await pool.fetch(
        "SELECT maintenance_id, service, starts_at, ends_at, is_cancelled"
        " FROM read.maintenance WHERE ($1::text IS NULL OR service = $1) AND starts_at < $3"
        " AND ends_at > $2 ORDER BY starts_at DESC, maintenance_id LIMIT $4",
        *(asked.service, *asked.instants(), limit),
    )
    return [MaintenanceView(*row) for row in rows]


async def read_availability(
    connection: Connection, journal: Journal, question: AvailabilityQuery, at_us: int
) -> list[ServiceReadings]:
    """Return how available services were, as far as the periods had come by `at_us`.

    The time before the first outage or promise of a service is not measured: nobody watched it.
    Raises: NotFoundError for a service of which nothing was ever told.
    """
    rows = await connection.fetch(_KNOWN_SINCE)
    since: dict[str, datetime | None] = {row["service"]: row["since"] for row in rows}
    services = list(since)
    if question.service is not None:
        if question.service not in since:
            raise NotFoundError(f"nothing was ever told of the service {question.service!r}")
        services = [question.service]
    found: list[ServiceReadings] = []
    for name in services:
        told = await read_told(connection, journal, name, question.whole, at_us)
        first = since[name]
        told = told._replace(since_us=LATEST_US if first is None else microseconds(first))
        periods = [reading(told.measure(period, at_us)) for period in question.periods()]
        found.append(ServiceReadings(name, periods))
    return found


async def read_told(
    connection: Connection, journal: Journal, service: str, whole: Span, at_us: int
) -> ServiceHistory:
    """Return what was told of a service, as far as it matters for a span read at an instant."""
    rows = await connection.fetch(
        "SELECT promised_at, share_min, calendar FROM read.availability WHERE service = $1"
        " ORDER BY version",
        service,
    )
    promises = [AvailabilityTarget(microseconds(at), share, name) for at, share, name in rows]
    calendars = await published_calendars(connection, journal, {p.calendar_id for p in promises})
    rows = await connection.fetch(
        "SELECT started_at, ended_at FROM read.outage WHERE service = $1 AND NOT is_withdrawn"
        " AND coalesce(ended_at >= $2, true)",
        *(service, instant(whole.start_us)),
    )
    failures = failures_of((Downtime.of(*row) for row in rows), at_us)
    since_us = min([whole.start_us, *(failure.start_us for failure in failures)])
    rows = await connection.fetch(
        "SELECT starts_at, ends_at FROM read.maintenance WHERE service = $1 AND NOT is_cancelled"
        " AND ends_at > $2 AND starts_at < $3",
        *(service, instant(since_us), instant(whole.end_us)),
    )
    maintenance = joined(Span.of(*row) for row in rows)
    return ServiceHistory(promises, calendars, failures, maintenance)


async def published_calendars(
    connection: Connection, journal: Journal, names: Collection[str]
) -> dict[str, list[tuple[int, WorkingCalendar]]]:
    """Return the versions of calendars by name, each with its publication, in order."""
    found: dict[str, list[tuple[int, WorkingCalendar]]] = {name: [] for name in names}
    for event_type, value in await journal.read_values(connection, names):
        if event_type == SlaCalendarPublished.TYPE:
            name, since_us, calendar = _calendar(event_type, value)
            found[name].append((since_us, calendar))
    return found


@lru_cache(maxsize=64)
def _calendar(event_type: str, value: bytes) -> tuple[str, int, WorkingCalendar]:
    """Kept, because a calendar learns the days it is asked about."""
    published = decoded(event_type, value)
    if not isinstance(published.data, SlaCalendarPublished):
        raise TypeError(event_type)
    calendar = WorkingCalendar.published(published.data)
    return published.data.calendar_id, published.time_us, calendar
