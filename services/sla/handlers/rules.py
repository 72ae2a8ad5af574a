"""Publishing rules, and what publishing them would do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, get_args

import msgspec
from msgspec import defstruct

from services.sla.domain.clocks.facts import PEAKS
from services.sla.domain.lint.findings import Finding
from services.sla.domain.outlook.endings import Ended, ended
from services.sla.domain.outlook.preview import ChangedClocks, changes
from services.sla.domain.rules.defaults import default_calendars, default_policy
from services.sla.domain.rules.differences import Differs, differing
from services.sla.domain.rules.published import Publication, rules_of
from services.sla.domain.rules.publishing import (
    PublishRule,
    RuleEvent,
    RulesWanted,
    decide,
    evolve,
    findings,
    plan,
    replaced,
)
from services.sla.queries import (
    NamedChange,
    open_tickets,
    read_publications,
    with_names,
)
from shared.calendar import microseconds
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.sla import SlaPeakDeclared, SlaPolicyPublished
from shared.http.body import any_of
from shared.journal.handler import CommandHandler, Decider, Intent, Written, require_sequence
from shared.journal.snapshots import Compaction
from shared.postgres.turn import HeldTurn, Turn
from shared.runtime.catch_up import catch_up
from shared.runtime.service import Service
from shared.telemetry import context

_PLANNED: Final = [("differs", list[Differs]), ("replaces", list[int])]
AnyPlanned = Annotated[
    Any,
    any_of(
        *(
            defstruct(f"Planned{rule.__name__}", _PLANNED, bases=(rule,), kw_only=True)
            for rule in get_args(RuleEvent)
        )
    ),
]
"""A rule as it would be published, what differs from its newest version, and what it replaces."""


class NamedChanges(msgspec.Struct, frozen=True):
    """How many open tickets were asked, how many clocks would change, and the first of those."""

    tickets: int
    changed: int
    clocks: list[NamedChange]


class Plan(msgspec.Struct, frozen=True):
    """What publishing would do: the rules, each with what differs from its newest version.

    `replaces` are the versions to come that will not come, since the new one does before them.
    `ends` are the promises that new tickets would have no more. `warnings` are what the linter
    finds odd in the rules.
    """

    publishes: list[AnyPlanned]
    ends: list[Ended]
    running_clocks: NamedChanges
    warnings: list[Finding]


class Published(NamedTuple):
    """What was published, and the promises that ended with it."""

    rules: list[RuleEvent]
    ends: list[Ended]


def _planned(rule: RuleEvent, before: EventData | None) -> dict[str, Any]:
    after = msgspec.to_builtins(rule)
    differs = [] if before is None else list(differing(msgspec.to_builtins(before), after))
    return {**after, "differs": differs}


def _ends(
    planned: Sequence[RuleEvent], published: Sequence[Publication], now: datetime
) -> list[Ended]:
    """Return the promises that end when what is planned comes into force, each once."""
    policies = [rule for rule in planned if isinstance(rule, SlaPolicyPublished)]
    if not policies:
        return []
    coming = (Publication(rule, microseconds(now)) for rule in planned)
    before, after = rules_of(published).rulebook, rules_of([*published, *coming]).rulebook
    found: list[Ended] = []
    for at_us in sorted({microseconds(policy.effective_from or now) for policy in policies}):
        found.extend(one for one in ended(before, after, at_us) if one not in found)
    return found


DECIDER: Final = Decider[PublishRule, RuleEvent | None](
    None, decide, evolve, Compaction[PublishRule]()
)


class RulePublisher:
    """Publishes rules. Versions are kept; a cycle is judged by those it opened under."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(DECIDER, service.committer, service.pool)
        self._publishing = Turn(service.pool, "rules")

    async def _plan(self, wanted: RulesWanted) -> Published:
        """Return what `publish` would write now. Raises: InvalidInputError naming the field."""
        async with self._service.pool.acquire() as connection:
            published = await read_publications(connection, self._service.journal)
        now = self._service.clock.now()
        planned = plan(wanted, published, now)
        return Published(planned, _ends(planned, published, now))

    async def check(self, wanted: RulesWanted) -> Plan:
        """Return what `publish` would write, and which running clocks it would change.

        Raises: InvalidInputError naming the field.
        """
        now = self._service.clock.now()
        now_us = microseconds(now)
        running = ChangedClocks()
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
            named = await with_names(connection, running.clocks, NamedChange)
        newest = {event.data.stream_id: event.data for event in published}
        return Plan(
            publishes=[
                _planned(rule, newest.get(rule.stream_id))
                | {"replaces": replaced(rule, published, now)}
                for rule in planned
            ],
            ends=_ends(planned, published, now),
            running_clocks=NamedChanges(running.tickets, running.changed, named),
            warnings=findings(wanted, published, now),
        )

    async def publish(
        self, wanted: RulesWanted, expected: tuple[str, int] | None = None
    ) -> Published:
        """Put rules into force, calendars first; what is in force already is not written again.

        All rules are one thing that has to be sound, so they are published one request at a time,
        by who has read all before, and those of a request together or not at all. `expected` is a
        stream that has to be at a sequence.
        Raises: InvalidInputError naming the field, with nothing written; StaleSequenceError;
        UnavailableError if what was published before cannot be read yet.
        """

        async def in_turn(turn: HeldTurn) -> Published:
            if expected is not None:
                name, sequence = expected
                require_sequence((await self._handler.state(name))[1], sequence)
            await catch_up(self._service)
            planned = await self._plan(wanted)
            intents = [self._intent(rule, context.lineage()) for rule in planned.rules]
            await self._handler.handle_in_turn(intents, turn)
            return planned

        return await self._publishing.run(in_turn)

    async def warnings(self, wanted: RulesWanted) -> list[Finding]:
        """Return what the linter finds odd in rules that are published."""
        async with self._service.pool.acquire() as connection:
            published = await read_publications(connection, self._service.journal)
        return findings(wanted, published, self._service.clock.now())

    async def declare_peak(self, *, is_peak: bool, expected: int | None = None) -> Written:
        """Say that a peak begins or ends; tickets created since are promised accordingly.

        Raises: StaleSequenceError if peaks are not at `expected`.
        """
        command = PublishRule(SlaPeakDeclared(desk_id=PEAKS, is_peak=is_peak))
        at = self._service.clock.now()
        return await self._handler.handle(Intent(PEAKS, command, at, context.lineage(), expected))

    async def publish_defaults(self, zone: str) -> None:
        """Publish what a new desk promises, unless something has been published before."""
        start = Lineage(actor="sla", correlation_id="start")
        for document in (*default_calendars(zone), default_policy()):
            _, sequence = await self._handler.state(document.stream_id)
            if sequence == 0:
                await self._handler.handle(self._intent(document, start))

    def _intent(self, rule: RuleEvent, lineage: Lineage) -> Intent[PublishRule]:
        return Intent(rule.stream_id, PublishRule(rule), self._service.clock.now(), lineage)
