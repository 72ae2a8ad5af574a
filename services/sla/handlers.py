"""Sla's commands: publishing policies and calendars, declaring peaks, telling of services."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.sla.domain import availability
from services.sla.domain.availability import Newest, Record
from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.facts import PEAKS
from services.sla.domain.preview import RunningClocks, changes
from services.sla.domain.published import Publication, rules_of
from services.sla.domain.rules import (
    PublishRule,
    RuleEvent,
    RulesWanted,
    decide,
    differing,
    evolve,
    plan,
)
from services.sla.queries import open_tickets, published_calendars, read_publications
from shared.calendar import ROUND_THE_CLOCK, microseconds
from shared.contracts.availability import AvailabilityPromised, ServiceEvent
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.sla import SlaPeakDeclared, SlaPolicyPublished
from shared.errors import InvalidInputError, StaleSequenceError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.runtime.service import Service
from shared.telemetry import context


class Plan(msgspec.Struct, frozen=True):
    """What publishing would do: the rules, each with what differs from its newest version."""

    publishes: list[dict[str, Any]]
    running_clocks: RunningClocks


def _planned(rule: RuleEvent, before: EventData | None) -> dict[str, Any]:
    after = msgspec.to_builtins(rule)
    differs = [] if before is None else list(differing(msgspec.to_builtins(before), after))
    return {**after, "differs": differs}


DECIDER: Final = Decider[PublishRule, RuleEvent | None](None, decide, evolve)


class Rulebook:
    """Publishes rules. Versions are kept; a cycle is judged by those it opened under."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(DECIDER, service.journal, service.committer, service.pool)

    async def plan(self, wanted: RulesWanted) -> list[RuleEvent]:
        """Return what `publish` would write now. Raises: InvalidInputError naming the field."""
        async with self._service.pool.acquire() as connection:
            published = await read_publications(connection, self._service.journal)
        return plan(wanted, published, self._service.clock.now())

    async def check(self, wanted: RulesWanted) -> Plan:
        """Return what `publish` would write, and which running clocks it would change.

        Raises: InvalidInputError naming the field.
        """
        now = self._service.clock.now()
        now_us = microseconds(now)
        running = RunningClocks()
        async with self._service.pool.acquire() as connection:
            published = await read_publications(connection, self._service.journal)
            planned = plan(wanted, published, now)
            starts = [
                microseconds(rule.effective_from or now)
                for rule in planned
                if isinstance(rule, SlaPolicyPublished) and rule.applies_to == "running"
            ]
            if starts:
                before = rules_of(published)
                after = rules_of([*published, *(Publication(rule, now_us) for rule in planned)])
                books = before.rulebook, after.rulebook
                async for ticket_id, facts in open_tickets(connection, before.peaks):
                    running.add(changes(ticket_id, facts, *books, max(starts)))
        newest = {event.data.stream_id: event.data for event in published}
        return Plan(
            publishes=[_planned(rule, newest.get(rule.stream_id)) for rule in planned],
            running_clocks=running,
        )

    async def publish(
        self, wanted: RulesWanted, expected: tuple[str, int] | None = None
    ) -> list[RuleEvent]:
        """Put rules into force, calendars first; what is in force already is not written again.

        `expected` is a stream that has to be at a sequence. Raises: InvalidInputError naming the
        field, with nothing written; StaleSequenceError.
        """
        if expected is not None:
            name, sequence = expected
            if (await self._handler.state(name))[1] != sequence:
                raise StaleSequenceError(
                    f"{name!r} is not at sequence {sequence}", field="If-Match"
                )
        planned = await self.plan(wanted)
        await self._write(planned, context.lineage())
        return planned

    async def declare_peak(self, *, is_peak: bool) -> Written:
        """Say that a peak begins or ends; tickets created since are promised accordingly."""
        return await self._one(SlaPeakDeclared(desk_id=PEAKS, is_peak=is_peak), context.lineage())

    async def publish_defaults(self, zone: str) -> None:
        """Publish what a new desk promises, unless something has been published before."""
        start = Lineage(actor="sla", correlation_id="start")
        for document in (*default_calendars(zone), default_policy()):
            _, sequence = await self._handler.state(document.stream_id)
            if sequence == 0:
                await self._one(document, start)

    async def _write(self, rules: Sequence[RuleEvent], lineage: Lineage) -> None:
        for rule in rules:
            await self._one(rule, lineage)

    async def _one(self, document: RuleEvent, lineage: Lineage) -> Written:
        command = PublishRule(document)
        at = self._service.clock.now()
        return await self._handler.handle(Intent(document.stream_id, command, at, lineage))


SERVICES_DECIDER: Final = Decider[Record, Newest]({}, availability.decide, availability.evolve)


class ServiceRecords:
    """Records what is told about services: outages, maintenance, promised availability."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(
            SERVICES_DECIDER, service.journal, service.committer, service.pool
        )

    async def record(self, document: ServiceEvent, expected: int | None = None) -> Written:
        """Record a whole document; the same again writes nothing.

        Raises: InvalidInputError naming the field; StaleSequenceError if the stream is not at
        `expected`.
        """
        now = self._service.clock.now()
        availability.require_sound(document, microseconds(now))
        if isinstance(document, AvailabilityPromised):
            await self._require_calendar(document.calendar)
        intent = Intent(document.stream_id, Record(document), now, context.lineage(), expected)
        return await self._handler.handle(intent)

    async def _require_calendar(self, name: str) -> None:
        async with self._service.pool.acquire() as connection:
            found = await published_calendars(connection, self._service.journal, [name])
        if name != ROUND_THE_CLOCK and not found[name]:
            raise InvalidInputError(
                f"/calendar: no calendar {name!r} is published", field="/calendar"
            )
