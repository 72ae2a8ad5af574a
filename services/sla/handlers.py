"""Sla's commands: publishing policies and calendars."""

from typing import Final

from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.rules import PublishRule, RuleEvent, check_policy, decide, evolve
from services.sla.queries import load_calendars
from shared.calendar import WorkingCalendar
from shared.contracts.envelope import Lineage
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.runtime.service import Service
from shared.telemetry import context

DECIDER: Final = Decider[PublishRule, RuleEvent | None](None, decide, evolve)


class Rulebook:
    """Publishes rules. Versions are kept; a ticket is judged by the one it was born under."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(DECIDER, service.journal, service.committer, service.pool)

    async def publish_policy(self, policy: SlaPolicyPublished, expected: int | None) -> Written:
        """Publish the next version of a policy.

        Raises: InvalidInputError naming the target that cannot be; StaleSequenceError.
        """
        async with self._service.pool.acquire() as connection:
            calendars = await load_calendars(
                connection, self._service.journal, {target.calendar for target in policy.targets}
            )
        check_policy(policy, calendars, self._service.clock.now())
        return await self._publish(policy, context.lineage(), expected)

    async def publish_calendar(
        self, calendar: SlaCalendarPublished, expected: int | None
    ) -> Written:
        """Publish the next version of a calendar.

        Raises: InvalidInputError naming the zone, date or window that cannot be.
        """
        WorkingCalendar.published(calendar).next_opening(self._service.clock.now())
        return await self._publish(calendar, context.lineage(), expected)

    async def publish_defaults(self, zone: str) -> None:
        """Publish what a new desk promises, unless something has been published before."""
        start = Lineage(actor="sla", correlation_id="start")
        for document in (*default_calendars(zone), default_policy()):
            _, sequence = await self._handler.state(document.stream_id)
            if sequence == 0:
                await self._publish(document, start, None)

    async def _publish(
        self, document: RuleEvent, lineage: Lineage, expected: int | None
    ) -> Written:
        command = PublishRule(document)
        at = self._service.clock.now()
        return await self._handler.handle(
            Intent(document.stream_id, command, at, lineage, expected)
        )
