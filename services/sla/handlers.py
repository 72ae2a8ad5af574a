"""Sla's commands: publishing rules, telling of services, agreements and their reviews."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from services.sla.domain.agreements import versions as agreements
from services.sla.domain.agreements.remedies import Figures, attained, available, remedy
from services.sla.domain.agreements.versions import (
    Agreement,
    Due,
    PublishAgreement,
    ReviewPeriod,
    SignAgreement,
)
from services.sla.domain.clocks.attainment import AttainmentQuery
from services.sla.domain.clocks.facts import PEAKS
from services.sla.domain.lint.findings import Finding
from services.sla.domain.outlook.endings import Ended, ended
from services.sla.domain.outlook.preview import RunningClocks, changes
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
from services.sla.domain.services import availability
from services.sla.domain.services.availability import Newest, RecordDocument
from services.sla.queries import (
    open_tickets,
    published_calendars,
    read_attainment,
    read_publications,
    read_told,
    read_versions,
    reviewed_periods,
    with_names,
)
from shared.calendar import ROUND_THE_CLOCK, instant, microseconds
from shared.contracts.agreements import (
    AgreementPublished,
    AgreementSigned,
    Measure,
    SlaRemedyDue,
)
from shared.contracts.availability import AvailabilityPromised, ServiceEvent
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.sla import SlaPeakDeclared, SlaPolicyPublished
from shared.errors import InvalidInputError, NotFoundError, StaleSequenceError, UnavailableError
from shared.journal.handler import CommandHandler, Decider, Intent, Written, require_sequence
from shared.journal.snapshots import Compaction
from shared.postgres.pool import Connection, Pool
from shared.postgres.turn import HeldTurn, Turn
from shared.runtime.catch_up import catch_up
from shared.runtime.service import Service
from shared.telemetry import context


class Plan(msgspec.Struct, frozen=True):
    """What publishing would do: the rules, each with what differs from its newest version.

    `replaces` are the versions to come that will not come, since the new one does before them.
    `ends` are the promises that new tickets would have no more. `running_clocks` are RunningClocks,
    each with the names of its ticket. `warnings` are what the linter finds odd in the rules.
    """

    publishes: list[dict[str, Any]]
    ends: list[Ended]
    running_clocks: dict[str, Any]
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
            named = await with_names(connection, running.clocks)
        newest = {event.data.stream_id: event.data for event in published}
        return Plan(
            publishes=[
                _planned(rule, newest.get(rule.stream_id))
                | {"replaces": replaced(rule, published, now)}
                for rule in planned
            ],
            ends=_ends(planned, published, now),
            running_clocks=msgspec.structs.asdict(running) | {"clocks": named},
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


SERVICES_DECIDER: Final = Decider[RecordDocument, Newest](
    {}, availability.decide, availability.evolve, Compaction[RecordDocument]()
)


class ServiceRecords:
    """Records what is told about services: outages, maintenance, promised availability."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(SERVICES_DECIDER, service.committer, service.pool)

    async def record(
        self, document: ServiceEvent, expected: int | None, *, is_managers: bool
    ) -> Written:
        """Record a whole document; the same again writes nothing.

        `is_managers`: a manager tells it. Raises: InvalidInputError naming the field;
        ForbiddenError for maintenance that only a manager may tell of by now; StaleSequenceError
        if the stream is not at `expected`.
        """
        now = self._service.clock.now()
        now_us = microseconds(now)
        availability.require_sound(document, now_us)
        if isinstance(document, AvailabilityPromised):
            await self._require_calendar(document.calendar)
        command = RecordDocument(document, now_us, is_managers)
        intent = Intent(document.stream_id, command, now, context.lineage(), expected)
        return await self._handler.handle(intent)

    async def _require_calendar(self, name: str) -> None:
        async with self._service.pool.acquire() as connection:
            found = await published_calendars(connection, self._service.journal, [name])
        if name != ROUND_THE_CLOCK and not found[name]:
            raise InvalidInputError(
                f"/calendar: no calendar {name!r} is published", field="/calendar"
            )


_REVIEW_TRIES: Final = 5
_REVIEWS_AT_ONCE: Final = 5
AGREEMENTS_DECIDER: Final = Decider[agreements.Command, Agreement](
    Agreement(), agreements.decide, agreements.evolve
)


class ReviewResult(msgspec.Struct, frozen=True):
    """What a review came to; `differs` is what changed since the one before, if one was told."""

    changed: bool
    remedy: SlaRemedyDue
    differs: list[Differs]


class Agreements:
    """Publishes agreements, records who signed them, and reviews their periods.

    Connections come from `pool`: that of the API unless another is named.
    """

    def __init__(self, service: Service, pool: "Pool | None" = None) -> None:
        self._service = service
        self._pool = pool or service.pool
        self._handler = CommandHandler(AGREEMENTS_DECIDER, service.committer, self._pool)

    async def tell(
        self,
        word: tuple[AgreementPublished | AgreementSigned, datetime | None],
        expected: int | None = None,
    ) -> Written:
        """Publish a version, or sign one, since an instant; what was told before changes nothing.

        Raises: InvalidInputError naming the field; IllegalTransitionError for a change of what is
        signed; StaleSequenceError if the stream is not at `expected`.
        """
        document, signed_at = word
        at = agreements.signing_instant(signed_at, self._service.clock.now())
        if isinstance(document, AgreementPublished):
            agreements.require_sound(document)
        command = (
            PublishAgreement(document)
            if isinstance(document, AgreementPublished)
            else SignAgreement(document)
        )
        return await self._handler.handle(
            Intent[agreements.Command](document.stream_id, command, at, context.lineage(), expected)
        )

    async def agreement(self, agreement_id: str) -> tuple[Agreement, int]:
        """Return an agreement and its stream's sequence. Raises: NotFoundError."""
        found, sequence = await self._handler.state(agreement_id)
        if not found.versions:
            raise no_agreement(agreement_id)
        return found, sequence

    async def review(self, agreement_id: str, name: str) -> ReviewResult:
        """Review a period again now; a further revision is told only if anything changed.

        Raises: NotFoundError; InvalidInputError and IllegalTransitionError naming the period.
        """
        now_us = microseconds(self._service.clock.now())
        agreement, _ = await self.agreement(agreement_id)
        agreements.require_due(agreement, name, now_us)
        await catch_up(self._service, self._pool)
        for _ in range(_REVIEW_TRIES):
            agreement, sequence = await self.agreement(agreement_id)
            due = agreements.require_due(agreement, name, now_us)
            try:
                return await self._review(agreement, due, sequence, context.lineage())
            except StaleSequenceError:
                continue
        raise UnavailableError("the agreement keeps changing; try again")

    async def review_all(self) -> int:
        """Review periods that ended and were not reviewed, a few at once; return how many were."""
        now_us = microseconds(self._service.clock.now())
        reviewed = await reviewed_periods(self._pool)
        waiting = [
            agreement_id
            for agreement_id, versions in (await read_versions(self._pool)).items()
            if any(agreements.due_periods(versions, reviewed.get(agreement_id, ()), now_us))
        ]
        if waiting:
            await catch_up(self._service, self._pool)
        told = 0
        for agreement_id in waiting:
            told += await self._review_due(agreement_id, now_us, _REVIEWS_AT_ONCE - told)
        return told

    async def _review_due(self, agreement_id: str, now_us: int, limit: int) -> int:
        """Review what is due of an agreement; leave it to the next look if another is quicker."""
        told = 0
        agreement, sequence = await self._handler.state(agreement_id)
        due_periods = agreements.due_periods(agreement.versions, agreement.remedies, now_us)
        for due in islice(due_periods, limit):
            lineage = Lineage(actor="sla", correlation_id="review")
            try:
                await self._review(agreement, due, sequence, lineage)
            except StaleSequenceError:
                return told
            told, sequence = told + 1, sequence + 1
        return told

    async def _review(
        self, agreement: Agreement, due: Due, sequence: int, lineage: Lineage
    ) -> ReviewResult:
        now = self._service.clock.now()
        async with self._pool.acquire() as connection:
            figures = [
                await self._measure(connection, due, measure, now)
                for measure in due.document.measures
            ]
        found = remedy(due.document, due.reviewed, figures)
        written = await self._handler.handle(
            Intent[agreements.Command](found.stream_id, ReviewPeriod(found), now, lineage, sequence)
        )
        last = agreement.remedies.get(found.period_start)
        news = next((one for one in written.events if isinstance(one, SlaRemedyDue)), last or found)
        return ReviewResult(bool(written.events), news, agreements.changes(last, news))

    async def _measure(
        self, connection: Connection, due: Due, measure: Measure, now: datetime
    ) -> Figures:
        span = due.reviewed.measured
        if measure.availability is not None:
            service, now_us = measure.availability.service, microseconds(now)
            told = await read_told(connection, self._service.journal, service, span, now_us)
            return available(service, told.measure(span, now_us))
        wanted = measure.attainment
        asked = AttainmentQuery(
            start=instant(span.start_us),
            end=instant(span.end_us),
            zone=due.document.zone,
            targets=() if wanted is None else wanted.targets,
            priorities=() if wanted is None else wanted.priorities,
            customers=(due.document.customer,),
            services=due.document.services,
        )
        return attained(await read_attainment(connection, asked, now))


def no_agreement(agreement_id: str) -> NotFoundError:
    """Return what is said of an agreement that is not there, or not for the caller to see."""
    return NotFoundError(f"no agreement {agreement_id!r} is published")
