"""Reading the past: from the log, and from the archive what the log no longer has."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from shared.errors import UnavailableError
from shared.log.archived import ArchivedLog
from shared.log.port import Log, LogReader, Record, TopicPartition

BATCH_SIZE_MAX: Final = 4_000
_PATIENCE_SECONDS: Final = 20
Positions = Mapping[TopicPartition, int]


async def read_log(
    log: Log, start: Positions, end: Positions, archive: ArchivedLog | None = None
) -> AsyncIterator[list[Record]]:
    """Yield the records from `start` (0 where not named) up to `end`, in batches.

    With an archive, what it holds comes from there and only the rest from the log.

    Raises: UnavailableError when the log stops giving what it should still hold, or no longer
    holds what is wanted: an admin deleted history, which the archive still has.
    """
    topics = sorted({place.topic for place in end})
    if archive is not None:
        held = await archive.end_offsets(topics)
        archived = {place: min(last, held.get(place, 0)) for place, last in end.items()}
        async for records in _read(archive, start, archived):
            yield records
        start = {place: max(start.get(place, 0), last) for place, last in archived.items()}
    for place, begin in sorted((await log.begin_offsets(topics)).items()):
        if start.get(place, 0) < min(begin, end.get(place, 0)):
            raise UnavailableError(
                f"{place.topic}-{place.partition} begins at offset {begin} in the log; what was"
                " before is in the archive: --from-archive"
            )
    async for records in _read(log, start, end):
        yield records


async def _read(
    source: Log | ArchivedLog, start: Positions, end: Positions
) -> AsyncIterator[list[Record]]:
    """Yield batches; the next one is asked for before a batch is worked on."""
    left = {place: last for place, last in end.items() if last > start.get(place, 0)}
    if not left:
        return
    reader = source.reader("replay")
    ahead: asyncio.Task[list[Record]] | None = None
    try:
        await reader.assign({place: start.get(place, 0) for place in left})
        ahead = _ask(reader)
        while ahead is not None:
            records = await ahead
            if not records:
                raise UnavailableError(f"the log gives no more; missing: {min(left)}")
            for place, offset in {(r.topic, r.partition): r.offset for r in records}.items():
                if offset + 1 >= end[place]:  # pyright: ignore[reportArgumentType] a place is a tuple
                    left.pop(TopicPartition(*place), None)
            ahead = _ask(reader) if left else None
            await asyncio.sleep(0)  # it goes out now, not when whoever reads has worked
            yield [r for r in records if r.offset < end[r.topic, r.partition]]  # pyright: ignore[reportArgumentType]
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        await reader.close()


def _ask(reader: LogReader) -> "asyncio.Task[list[Record]]":
    async def fetch() -> list[Record]:
        return await reader.fetch(records_max=BATCH_SIZE_MAX, wait_seconds=_PATIENCE_SECONDS)

    return asyncio.create_task(fetch())
