"""The import door: a stream's past, taken over from another system, once (R5).

The caller sends the whole past of a stream; what the journal has already is compared and skipped,
so sending it again changes nothing and sending more of it goes on where it stopped. No more is read
than was sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from shared.clock import Clock
from shared.contracts.base import EventData, Key, TicketData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import EVENTS, Recorded
from shared.errors import DeskError, InvalidInputError, ReusedIdError, StaleSequenceError
from shared.faults import NOT_DECODABLE, from_msgspec, given_in
from shared.journal.committer import Committer
from shared.journal.journal import Append, Draft, Fate, Journal
from shared.postgres.pool import Connection, Pool

STREAMS_MAX: Final = 1_000
EVENTS_MAX: Final = 50_000
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_SKEW: Final = timedelta(minutes=5)
"""What clocks of other machines may be ahead of ours."""
_DONE_AT: Final = ("occurred_at", "resolved_at", "stopped_at")
"""Fields of data that tell of something that was over by then, so that they are past, too."""


class BeforePast(Protocol):
    """Hears of the events of a past before they are taken over, in a transaction of its own.

    That is committed even where the events are then refused, and the same events may come again:
    what it notes must be true of them whether or not they are taken over. Must not await anything
    but the connection; 5 s at most. A DeskError from it refuses them all.
    """

    async def __call__(
        self, connection: Connection, events: Sequence[EventData], /
    ) -> Mapping[str, DeskError]:
        """Note what must be known first; return the streams that cannot be taken over, and why."""
        ...


class LiveTickets(Protocol):
    """Tells which of some tickets are this desk's own work, as far as the service knows.

    Must not await anything but the connection; 5 s at most.
    """

    async def __call__(self, connection: Connection, ticket_ids: Sequence[str], /) -> set[str]:
        """Return those that this desk made, or that something happened to since they came."""
        ...


class RequirePast(Protocol):
    """Says what the events of one stream's past must be, beside each being past. Pure."""

    def __call__(self, past: Sequence[tuple[EventData, datetime]], /) -> None:
        """Raise InvalidInputError with the pointer `/events/<place>…` of what cannot have been."""
        ...


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What a service has to say of pasts that it takes over."""

    require: RequirePast | None = None
    before: BeforePast | None = None
    live: LiveTickets | None = None


NO_RULES: Final = ImportRules()


class PastEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of the past; `data` is what the event's contract says, at its newest version."""

    type: Key
    time: Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]
    actor: Key
    data: msgspec.Raw


class PastStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The past of one stream, from its beginning, in the order in which it was recorded."""

    stream_id: Key
    events: Annotated[tuple[PastEvent, ...], Meta(max_length=EVENTS_MAX)]


class PastBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several streams taken over from `source`."""

    source: Key
    streams: Annotated[tuple[PastStream, ...], Meta(max_length=STREAMS_MAX)]


class RawPastBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several streams taken over from `source`, each still as it came."""

    source: Key
    streams: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=STREAMS_MAX)]


class TakenOver(NamedTuple):
    """What became of one stream: events added, events that were there; or why it was refused.

    The error's `field` points into the stream.
    """

    stream_id: str
    added: int = 0
    known: int = 0
    error: DeskError | None = None


class _Sender(NamedTuple):
    importer: str
    source: str

    def name_of(self, actor: str) -> str:
        """Return who did it as the ledger has it: as somebody's word about another system."""
        return f"{self.importer}/{self.source}/{actor}"


class HistoryDoor:
    """Takes over the past of tickets, as far as this service is its writer.

    Rules, agreements and people are published by who may, not taken over.
    """

    def __init__(
        self,
        journal: Journal,
        committer: Committer,
        pool: Pool,
        clock: Clock,
        rules: ImportRules = NO_RULES,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._committer = committer
        self._pool = pool
        self._rules = rules
        self._decoders = {
            event.TYPE: msgspec.json.Decoder(event)
            for event in EVENTS[journal.writer]
            if issubclass(event, TicketData)
        }

    async def take_over(self, batch: PastBatch, importer: str) -> list[TakenOver]:
        """Append what is new of each stream; a stream is taken over whole or refused.

        Who did it is told by `importer`, from the source, and stands so in the event. A ticket that
        is this desk's own work has no other past. Raises: TooBusyError.
        """
        sender = _Sender(importer, batch.source)
        async with self._pool.acquire() as connection:
            known = await self._journal.read_beginnings(
                connection, {s.stream_id: max(1, len(s.events)) for s in batch.streams}
            )
            names = [stream.stream_id for stream in batch.streams]
            ask_live = self._rules.live
            live = set[str]() if ask_live is None else await ask_live(connection, names)
        latest = self._clock.now() + _SKEW
        results: list[TakenOver] = []
        appends: list[Append] = []
        for stream in batch.streams:
            try:
                append = self._fit(stream, sender, known[stream.stream_id], latest)
                if append.drafts and stream.stream_id in live:
                    raise ReusedIdError("the ticket is this desk's own work")
            except DeskError as error:
                results.append(TakenOver(stream_id=stream.stream_id, error=error))
                continue
            fresh = len(append.drafts)
            results.append(
                TakenOver(stream_id=stream.stream_id, added=fresh, known=len(stream.events) - fresh)
            )
            if append.drafts:
                appends.append(append)
        refused: Mapping[str, DeskError] = await self._announce(appends) if appends else {}
        appends = [append for append in appends if append.stream_id not in refused]
        if appends or refused:
            fates = await self._committer.append(appends) if appends else []
            refused = {**refused}
            for append, fate in zip(appends, fates, strict=True):
                if fate is not True:
                    refused[append.stream_id] = _refused(fate)
            results = [
                TakenOver(one.stream_id, error=refused[one.stream_id])
                if one.error is None and one.stream_id in refused
                else one
                for one in results
            ]
        return results

    async def _announce(self, appends: Sequence[Append]) -> Mapping[str, DeskError]:
        before = self._rules.before
        if before is None:
            return {}
        async with self._pool.acquire() as connection, connection.transaction():
            return await before(connection, [d.data for a in appends for d in a.drafts])

    def _fit(
        self, stream: PastStream, sender: "_Sender", known: Sequence[Recorded], latest: datetime
    ) -> Append:
        if known and not known[0].history:
            raise ReusedIdError("the stream was not taken over but made here")
        drafts: list[Draft] = []
        for place, event in enumerate(stream.events):
            pointer = f"/events/{place}"
            data = self._decode(event, pointer)
            if data.stream_id != stream.stream_id:
                raise _refusal(f"{pointer}/data", f"it belongs to {data.stream_id}")
            _require_past(event.time, f"{pointer}/time", latest)
            for name in _DONE_AT:
                _require_past(getattr(data, name, None), f"{pointer}/data/{name}", latest)
            if place < len(known) and (known[place].data, known[place].time) != (data, event.time):
                raise ReusedIdError(
                    f"{pointer}: {event.type} differs from the one taken over before",
                    field=pointer,
                )
            is_told = getattr(data, "source_system", sender.source) in {None, sender.source}
            if place >= len(known) and not is_told:
                reason = f"it is not {sender.source}, which this comes from"
                raise _refusal(f"{pointer}/data/source_system", reason)
            drafts.append(Draft(data, event.time, sender.name_of(event.actor)))
        if self._rules.require is not None:
            self._rules.require([(draft.data, draft.time) for draft in drafts])
        taken = min(len(known), len(drafts))
        lineage = Lineage(actor=sender.importer, correlation_id=stream.stream_id, history=True)
        return Append(stream.stream_id, taken, tuple(drafts[taken:]), lineage)

    def _decode(self, event: PastEvent, pointer: str) -> EventData:
        decoder = self._decoders.get(event.type)
        if decoder is None:
            raise InvalidInputError(
                f"{pointer}/type: {self._journal.writer} takes over no {event.type!r};"
                " only tickets have a past",
                field=f"{pointer}/type",
            )
        try:
            return decoder.decode(event.data)
        except NOT_DECODABLE as error:
            given = given_in(bytes(event.data), decoder.type)
            raise from_msgspec(error, base=f"{pointer}/data", given=given) from error


def _require_past(at: datetime | None, field: str, latest: datetime) -> None:
    if at is None:
        return
    if at.tzinfo is None:
        raise _refusal(field, "it has no offset")
    if at < _EARLIEST:
        raise _refusal(field, f"it is before {_EARLIEST.year}")
    if at > latest:
        raise _refusal(field, "it is in the future, and history is what has been")


def _refusal(field: str, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {reason}", field=field)


def _refused(fate: Fate) -> DeskError:
    if isinstance(fate, bool):
        return StaleSequenceError("the stream moved on meanwhile; send again")
    event = f"/events/{fate.sequence - 1}"
    field = f"{event}/data{fate.field}" if fate.field else event
    return InvalidInputError(f"{event}: {fate.detail}", field=field)
