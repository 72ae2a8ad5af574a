"""Recording what becomes of services: outages, maintenance, promised availability."""

from typing import Final

from services.sla.domain.services import availability
from services.sla.domain.services.availability import Newest, RecordDocument, Rights
from services.sla.queries import published_calendars, read_first_teller
from shared.calendar import ROUND_THE_CLOCK, microseconds
from shared.contracts.availability import AvailabilityPromised, ServiceEvent
from shared.errors import InvalidInputError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.journal.snapshots import Compaction
from shared.runtime.service import Service
from shared.telemetry import context

SERVICES_DECIDER: Final = Decider[RecordDocument, Newest](
    {}, availability.decide, availability.evolve, Compaction[RecordDocument]()
)


class ServiceRecords:
    """Records what is told about services: outages, maintenance, promised availability."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(SERVICES_DECIDER, service.committer, service.pool)

    async def record(self, document: ServiceEvent, expected: int | None, rights: Rights) -> Written:
        """Record a whole document; the same again writes nothing.

        Raises: InvalidInputError naming the field; ForbiddenError for maintenance that only a
        manager may tell of by now; StaleSequenceError if the stream is not at `expected`;
        UnavailableError if somebody told of it since they asked who did.
        """
        now = self._service.clock.now()
        now_us = microseconds(now)
        availability.require_sound(document, now_us)
        if isinstance(document, AvailabilityPromised):
            await self._require_calendar(document.calendar)
        command = RecordDocument(document, now_us, rights)
        intent = Intent(document.stream_id, command, now, context.lineage(), expected)
        return await self._handler.handle(intent)

    async def told_by(self, document: ServiceEvent) -> str | None:
        """Return who was first to tell of this outage or the like; None if nobody did."""
        async with self._service.pool.acquire() as connection:
            return await read_first_teller(connection, document)

    async def _require_calendar(self, name: str) -> None:
        async with self._service.pool.acquire() as connection:
            found = await published_calendars(connection, self._service.journal, [name])
        if name != ROUND_THE_CLOCK and not found[name]:
            raise InvalidInputError(
                f"/calendar: no calendar {name!r} is published", field="/calendar"
            )
