"""Intake's commands: from what a caller wants to events in the journal."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from services.intake.domain.commands import (
    CreateTicket,
    MergeTicket,
    TicketCommand,
    UpdateTicket,
)
from services.intake.domain.record import (
    RecordRules,
    Submission,
    accept,
    number_in,
    numbered,
    require_category,
    require_whole,
)
from services.intake.domain.ticket import (
    MergedAwayError,
    Ticket,
    decide,
    evolve,
    key_of,
    keys_of,
    require_survivor,
)
from services.intake.queries import claims
from shared.contracts.base import EventData
from shared.contracts.intake import TicketCreated, TicketMerged
from shared.contracts.registry import decode_envelope
from shared.errors import DeskError, ForbiddenError, InvalidInputError, NotFoundError, ReusedIdError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.journal.journal import Journal
from shared.journal.snapshots import Compaction
from shared.postgres.pool import Connection, Pool
from shared.postgres.turn import HeldTurn, Turn
from shared.runtime.numbers import Numbers, raise_past

DECIDER: Final = Decider[TicketCommand, Ticket](
    Ticket(), decide, evolve, Compaction[TicketCommand](key=key_of, asks=keys_of)
)


class Report(Submission, frozen=True):
    """A report of a caller, and how to ask what they may with tickets that it names."""

    may_split: Callable[[Ticket], Awaitable[bool]]
    may_see: Callable[[Ticket], Awaitable[bool]]


class Opened(Struct, frozen=True):
    """The ticket that a report became, now or when it came the first time."""

    ticket_id: UUID
    number: str
    sequence: int
    is_new: bool


def given(event: EventData) -> int | None:
    """Return which of this desk's own numbers an event gives to a ticket, if it gives one."""
    return number_in(event.number) if isinstance(event, TicketCreated) else None


async def pass_given(connection: Connection, events: Iterable[EventData]) -> None:
    """Let no ticket have a number that one of these has: numbers never go back, and none is double.

    They come from the log, which knows more than a database restored from an older copy; or from
    another system whose numbers look like ours.
    """
    if highest := max((given(event) or 0 for event in events), default=0):
        await raise_past(connection, highest)


async def claim_numbers(
    connection: Connection, events: Sequence[EventData]
) -> dict[str, DeskError]:
    """Keep the numbers of tickets that are to be taken over; return whose are another ticket's.

    A number of this desk's form is free if nobody was to have it yet, or an import passed it over.
    """
    wanted = [(e.number, e.stream_id) for e in events if isinstance(e, TicketCreated)]
    own = {number: n for number, _ in wanted if (n := number_in(number)) is not None}
    latest: int = claims.NUMBERS_AHEAD_MAX + await connection.fetchval(claims.LAST_NUMBER)
    far = {number for number, n in own.items() if n > latest}
    passed = await raise_past(connection, max((own[one] for one in own.keys() - far), default=0))
    if passed:
        await connection.execute(claims.KEEP_RANGE, passed.start, passed.stop - 1)
    near = [one for one in wanted if one[0] not in far]
    await connection.executemany(claims.TAKE_NUMBER, sorted(near, key=itemgetter(0)))
    names = sorted({number for number, _ in near})
    holders = {row[0]: row[1] for row in await connection.fetch(claims.HOLDERS, names)}
    free = {row[0] for row in await connection.fetch(claims.IN_RANGES, sorted(own.values()))}
    place = "/events/0/data/number"
    refused: dict[str, DeskError] = {}
    for number, stream_id in wanted:
        if number in far:
            reason = f"number {number} is more than {claims.NUMBERS_AHEAD_MAX} ahead of this desk's"
            refused[stream_id] = InvalidInputError(reason, field=place)
        elif holders[number] != stream_id or (number in own and own[number] not in free):
            reason = f"number {number} is that of another ticket"
            refused[stream_id] = ReusedIdError(reason, field=place)
    return refused


async def admit_past(connection: Connection, events: Sequence[EventData]) -> dict[str, DeskError]:
    """Return which streams of a past cannot be taken over; keep the numbers of the others.

    A past ends in no ticket of this desk's own: whose it is would read and speak there.
    """
    ends = [(e.stream_id, str(e.into)) for e in events if isinstance(e, TicketMerged)]
    rows = await connection.fetch(claims.BEGINNINGS, sorted({into for _, into in ends}))
    own = {into for into, value in rows if not decode_envelope(value).history}
    refused: dict[str, DeskError] = {
        stream_id: ReusedIdError(f"ticket {into}, in which it ends, is this desk's own work")
        for stream_id, into in ends
        if into in own
    }
    return await claim_numbers(connection, events) | refused


class Sources:
    """Who may report as which CloudEvents source: who did so first, or whom the desk named.

    What was reported stays with who reported it, whoever has the source by now.
    """

    def __init__(self, pool: Pool, journal: Journal) -> None:
        self._pool = pool
        self._journal = journal

    async def claim(self, sources: Collection[str], subject: str) -> dict[str, DeskError]:
        """Return which of these sources are not theirs, and why; those that nobody has now are."""
        refused: dict[str, DeskError] = {}
        async with self._pool.acquire() as connection, connection.transaction():
            owners = await _owners(connection, sources)
            if fresh := sorted(set(sources) - owners.keys()):
                count: int = await connection.fetchval(claims.COUNT_SOURCES, subject)
                for source in fresh[max(0, claims.SOURCES_MAX - count) :]:
                    refused[source] = InvalidInputError(
                        f"{claims.SOURCES_MAX} sources are as many as anybody has", field="source"
                    )
                kept = [(source, subject) for source in fresh if source not in refused]
                await connection.executemany(claims.CLAIM_SOURCE, kept)
                owners = await _owners(connection, sources)
        for source, owner in owners.items():
            if owner != subject:
                refused[source] = ForbiddenError(f"{source!r} is another system's", field="source")
        return refused

    async def give(self, source: str, subject: str) -> None:
        """Let a source be this subject's from now on, whoever had it."""
        await self._pool.execute(claims.GIVE_SOURCE, source, subject)

    async def reporter(self, ticket_id: UUID) -> str | None:
        """Return who reported a ticket, as `reporters` does."""
        async with self._pool.acquire() as connection:
            found = await reporters(self._journal, connection, [str(ticket_id)])
        return found.get(str(ticket_id))


async def reporters(
    journal: Journal, connection: Connection, ticket_ids: Iterable[str]
) -> dict[str, str]:
    """Return who reported each ticket: over HTTP the caller, on the log the source.

    Of a ticket that was taken over from another desk nobody did.
    """
    begun = await journal.read_beginnings(connection, dict.fromkeys(ticket_ids, 1))
    return {
        ticket_id: events[0].actor
        for ticket_id, events in begun.items()
        if events and not events[0].history
    }


async def _owners(connection: Connection, sources: Collection[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in await connection.fetch(claims.OWNERS, sorted(sources))}


class Tickets:
    """Writes tickets."""

    def __init__(
        self,
        handler: CommandHandler[TicketCommand, Ticket],
        numbers: Numbers,
        rules: RecordRules,
        pool: Pool,
    ) -> None:
        self._handler = handler
        self._numbers = numbers
        self._rules = rules
        self._merging = Turn(pool, "merge")

    async def open(self, report: Report) -> Opened:
        """Make one ticket of one report, however often it is reported.

        Raises: InvalidInputError naming the field; ReusedIdError when the id was used for another
        report; TooBusyError; UnavailableError.
        """
        result = (await self.open_all([report]))[0]
        if isinstance(result, DeskError):
            raise result
        return result

    async def open_all(self, reports: Sequence[Report | DeskError]) -> list[Opened | DeskError]:
        """Make tickets of many reports; one result each, a bad one leaves the others alone.

        What was refused before stays refused in its place. A number is drawn for those alone that
        are no longer refused for what they say.
        """
        results: dict[int, Opened | DeskError] = {}
        accepted: dict[int, tuple[Report, CreateTicket]] = {}
        for place, report in enumerate(reports):
            if isinstance(report, DeskError):
                results[place] = report
                continue
            try:
                await self._require_whole(report)
                accepted[place] = report, accept(report, self._rules)
            except DeskError as error:
                results[place] = error
        numbers = await self._numbers.take(len(accepted)) if accepted else []
        intents = [
            _intent(report, numbered(command, number))
            for (report, command), number in zip(accepted.values(), numbers, strict=True)
        ]
        written = await self._handler.handle_all(intents)
        for (place, (report, _)), outcome in zip(accepted.items(), written, strict=True):
            results[place] = await self._opened(report, outcome)
        return [results[place] for place in range(len(reports))]

    async def carry_out(self, intent: Intent[TicketCommand]) -> Written:
        """Carry out a command on a ticket that exists.

        Raises: NotFoundError; IllegalTransitionError; StaleSequenceError; ReusedIdError;
        InvalidInputError for a merge into a ticket that cannot take it.
        """
        command = intent.command
        if isinstance(command, MergeTicket):
            return await self._merge(intent, command)
        if isinstance(command, UpdateTicket) and isinstance(command.category, str):
            await self._require_category(command.ticket_id, command.category)
        return _require_known(await self._handler.handle(intent))

    async def state(self, ticket_id: UUID) -> Ticket:
        """Return the ticket as the journal has it; unknown for one that does not exist."""
        ticket, _ = await self._handler.state(str(ticket_id))
        return ticket

    async def comment(
        self, intent: Intent[TicketCommand], may_land: Callable[[UUID], Awaitable[None]]
    ) -> Written:
        """Make a comment where the ticket's work goes on: nothing lands where nobody reads it.

        `stream_id` of what was written says where. `may_land` raises for a ticket on which the
        caller may not say it; it is asked of each on the way.

        Raises: as `carry_out`; MergedAwayError where merges lead nowhere, as those of another desk.
        """
        been = set[str]()
        while True:
            await may_land(UUID(intent.stream_id))
            try:
                return _require_known(await self._handler.handle(intent))
            except MergedAwayError as error:
                been.add(intent.stream_id)
                survivor = await self.state(error.into)
                if str(error.into) in been or survivor.created is None:
                    raise
                elsewhere = msgspec.structs.replace(intent.command, ticket_id=error.into)
                intent = Intent(str(error.into), elsewhere, intent.at, intent.lineage)

    async def _merge(self, intent: Intent[TicketCommand], command: MergeTicket) -> Written:
        """Merge, one at a time in the whole desk: else two could end in each other."""

        async def merge(turn: HeldTurn) -> Written:
            merged = await self.state(command.ticket_id)
            require_survivor(command, merged, await self.state(command.into))
            [written] = await self._handler.handle_in_turn([intent], turn)
            return _require_known(written)

        return await self._merging.run(merge)

    async def _require_category(self, ticket_id: UUID, category: str) -> None:
        """Raise InvalidInputError for a category that is none, unless the ticket has it already."""
        try:
            require_category(category, self._rules.categories)
        except InvalidInputError:
            record = (await self.state(ticket_id)).record
            if record is None or record.category != category:
                raise

    async def _require_whole(self, report: Report) -> None:
        ticket_id = report.record.split_from
        if ticket_id is not None:
            whole = await self.state(ticket_id)
            require_whole(report.record, whole, is_theirs=await report.may_split(whole))

    async def _opened(self, report: Report, outcome: Written | DeskError) -> Opened | DeskError:
        if isinstance(outcome, ReusedIdError):
            is_theirs = await report.may_see(await self.state(report.ticket_id))
            return outcome if is_theirs else ReusedIdError(f"id {report.ticket_id} is taken")
        if isinstance(outcome, DeskError):
            return outcome
        for event in outcome.events:
            if isinstance(event, TicketCreated):
                return Opened(report.ticket_id, event.number, 1, is_new=True)
        ticket = await self.state(report.ticket_id)
        number = ticket.created.number if ticket.created is not None else ""
        return Opened(report.ticket_id, number, 1, is_new=False)


def _intent(report: Report, command: TicketCommand) -> Intent[TicketCommand]:
    return Intent(str(report.ticket_id), command, report.reported_at, report.lineage, is_new=True)


def _require_known(written: Written) -> Written:
    if written.sequence == 0:
        raise NotFoundError(f"no ticket {written.stream_id}")
    return written
