"""Sla's commands: publishing policies and calendars, declaring peaks."""

from collections.abc import Sequence
from typing import Final

from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.facts import PEAKS
from services.sla.domain.rules import PublishRule, RuleEvent, RulesWanted, decide, evolve, plan
from services.sla.queries import read_publications
from shared.contracts.envelope import Lineage
from shared.contracts.sla import SlaPeakDeclared
from shared.errors import StaleSequenceError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.runtime.service import Service
from shared.telemetry import context

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
