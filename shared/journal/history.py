"""The import door: a stream's past, taken over from another system, once (R5).

The caller sends the whole past of a stream; what the journal has already is compared and skipped,
so sending it again changes nothing and sending more of it goes on where it stopped.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared.contracts.base import EventData, Key, TicketData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import EVENTS, Recorded
from shared.errors import DeskError, InvalidInputError, ReusedIdError
from shared.journal.committer import Committer
from shared.journal.journal import Append, Draft, Journal
from shared.postgres.pool import Pool

STREAMS_MAX: Final = 1_000
_YEAR_FIRST: Final = 1900
_YEAR_LAST: Final = 2199


class PastEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of the past; `data` is what the event's contract says, at its newest version."""

    type: str
    time: datetime
    actor: Key
    data: msgspec.Raw


class PastStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The past of one stream, from its beginning, in the order in which it was recorded."""

    stream_id: Key
    events: tuple[PastEvent, ...]


class PastBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several streams taken over from `source`."""

    source: Key
    streams: tuple[PastStream, ...]


class TakenOver(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one stream: events added, events that were there; or why it was refused."""

    stream_id: str
    added: int = 0
    known: int = 0
    error: str | None = None


class HistoryDoor:
    """Takes over the past of tickets, as far as this service is its writer.

    Rules, agreements and people are published by who may, not taken over.
    """

    def __init__(self, journal: Journal, committer: Committer, pool: Pool) -> None:
        self._journal = journal
        self._committer = committer
        self._pool = pool
        self._decoders = {
            event.TYPE: msgspec.json.Decoder(event)
            for event in EVENTS[journal.writer]
            if issubclass(event, TicketData)
        }

    async def take_over(self, batch: PastBatch) -> list[TakenOver]:
        """Append what is new of each stream; a stream is taken over whole or refused.

        Raises: InvalidInputError for more than STREAMS_MAX streams; TooBusyError.
        """
        if len(batch.streams) > STREAMS_MAX:
            raise InvalidInputError(f"at most {STREAMS_MAX} streams", field="/streams")
        async with self._pool.acquire() as connection:
            known = await self._journal.read(connection, [s.stream_id for s in batch.streams])
        results: list[TakenOver] = []
        appends: list[Append] = []
        for stream in batch.streams:
            try:
                append = self._fit(stream, batch.source, known[stream.stream_id])
            except DeskError as error:
                results.append(TakenOver(stream_id=stream.stream_id, error=error.detail))
                continue
            fresh = len(append.drafts)
            results.append(
                TakenOver(stream_id=stream.stream_id, added=fresh, known=len(stream.events) - fresh)
            )
            if append.drafts:
                appends.append(append)
        if appends:
            fates = await self._committer.append(appends)
            late = {a.stream_id for a, fits in zip(appends, fates, strict=True) if not fits}
            results = [_refuse_late(result, late) for result in results]
        return results

    def _fit(self, stream: PastStream, source: str, known: Sequence[Recorded]) -> Append:
        drafts: list[Draft] = []
        lineage = Lineage(actor=source, correlation_id=stream.stream_id, history=True)
        for place, event in enumerate(stream.events):
            data = self._decode(event, f"/events/{place}")
            if data.stream_id != stream.stream_id:
                raise InvalidInputError(f"event {place + 1} belongs to {data.stream_id}")
            if event.time.tzinfo is None:
                raise InvalidInputError(f"event {place + 1}: time has no offset")
            if not _YEAR_FIRST <= event.time.year <= _YEAR_LAST:
                raise InvalidInputError(
                    f"event {place + 1}: time is not between {_YEAR_FIRST} and {_YEAR_LAST}"
                )
            if place >= len(known):
                drafts.append(Draft(data, event.time, event.actor))
            elif known[place].data != data or known[place].time != event.time:
                raise ReusedIdError(
                    f"event {place + 1} ({event.type}) differs from the one taken over before"
                )
        if known and not known[0].history:
            raise ReusedIdError("the stream was not taken over but made here")
        return Append(stream.stream_id, min(len(known), len(stream.events)), tuple(drafts), lineage)

    def _decode(self, event: PastEvent, pointer: str) -> EventData:
        decoder = self._decoders.get(event.type)
        if decoder is None:
            raise InvalidInputError(
                f"{self._journal.writer} takes over no {event.type!r}; only tickets have a past",
                field=f"{pointer}/type",
            )
        try:
            return decoder.decode(event.data)
        except msgspec.DecodeError as error:
            raise InvalidInputError(f"{event.type}: {error}", field=f"{pointer}/data") from error


def _refuse_late(result: TakenOver, late: set[str]) -> TakenOver:
    if result.stream_id not in late:
        return result
    return TakenOver(stream_id=result.stream_id, error="the stream moved on meanwhile; send again")
