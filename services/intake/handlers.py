"""Intake's commands: from what a caller wants to events in the journal."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from services.intake.domain.commands import (
    CommentTicket,
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
from services.intake.queries import (
    CLAIM_SOURCE,
    COUNT_SOURCES,
    GIVE_SOURCE,
    HOLDERS,
    IN_RANGES,
    IS_OWNER,
    KEEP_RANGE,
    OWNERS,
    SOURCES_MAX,
    TAKE_NUMBER,
)
from shared.contracts.base import EventData
from shared.contracts.intake import TicketCreated
from shared.errors import DeskError, InvalidInputError, NotFoundError, ReusedIdError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
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
    passed = await raise_past(connection, max(own.values(), default=0))
    if passed:
        await connection.execute(KEEP_RANGE, passed.start, passed.stop - 1)
    await connection.executemany(TAKE_NUMBER, sorted(wanted, key=itemgetter(0)))
    names = sorted({number for number, _ in wanted})
    holders = {row[0]: row[1] for row in await connection.fetch(HOLDERS, names)}
    free = {row[0] for row in await connection.fetch(IN_RANGES, sorted(own.values()))}
    return {
        stream_id: ReusedIdError(
            f"number {number} is that of another ticket", field="/events/0/data/number"
        )
        for number, stream_id in wanted
        if holders[number] != stream_id or (number in own and own[number] not in free)
    }


class Sources:
    """Who may report as which CloudEvents source: who did so first, or whom the desk named."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, sources: Collection[str], subject: str) -> set[str]:
        """Return which of these sources are somebody else's; those that nobody has are theirs now.

        Raises: InvalidInputError where they would have too many.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            owners = await _owners(connection, sources)
            if fresh := sorted(set(sources) - owners.keys()):
                count: int = await connection.fetchval(COUNT_SOURCES, subject)
                if count + len(fresh) > SOURCES_MAX:
                    raise InvalidInputError(f"{SOURCES_MAX} sources are as many as anybody has")
                await connection.executemany(CLAIM_SOURCE, [(one, subject) for one in fresh])
                owners = await _owners(connection, sources)
        return {source for source, owner in owners.items() if owner != subject}

    async def give(self, source: str, subject: str) -> None:
        """Let a source be this subject's from now on, whoever had it."""
        await self._pool.execute(GIVE_SOURCE, source, subject)

    async def is_theirs(self, source: str, subject: str) -> bool:
        """Say whether a source is this subject's."""
        return await self._pool.fetchval(IS_OWNER, source, subject)


async def _owners(connection: Connection, sources: Collection[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in await connection.fetch(OWNERS, sorted(sources))}


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

        A comment on a ticket that was merged away is made where its work goes on: nothing that is
        accepted lands where nobody reads it. `stream_id` of what was written says where.

        Raises: NotFoundError; IllegalTransitionError; StaleSequenceError; ReusedIdError;
        InvalidInputError for a merge into a ticket that cannot take it.
        """
        command = intent.command
        if isinstance(command, MergeTicket):
            return await self._merge(intent, command)
        if isinstance(command, CommentTicket):
            return await self._comment(intent, command)
        if isinstance(command, UpdateTicket) and isinstance(command.category, str):
            await self._require_category(command.ticket_id, command.category)
        return _require_known(await self._handler.handle(intent))

    async def state(self, ticket_id: UUID) -> Ticket:
        """Return the ticket as the journal has it; unknown for one that does not exist."""
        ticket, _ = await self._handler.state(str(ticket_id))
        return ticket

    async def _comment(self, intent: Intent[TicketCommand], command: CommentTicket) -> Written:
        been = set[str]()
        while True:
            try:
                return _require_known(await self._handler.handle(intent))
            except MergedAwayError as error:
                been.add(intent.stream_id)
                if str(error.into) in been:  # only tickets taken over end in each other
                    raise
                elsewhere = msgspec.structs.replace(command, ticket_id=error.into)
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
