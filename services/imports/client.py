"""Sending the past of incidents to the import doors, batch by batch; repeating changes nothing."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from services.imports import csv_files
from services.imports.csv_files import read_rows
from services.imports.dates import Evidence, Order
from services.imports.servicenow import (
    COLUMNS,
    DATES,
    SOURCE,
    ImportedEvent,
    Incident,
    IncidentUpdate,
    read_row,
    take_over,
)
from shared.errors import InvalidInputError, UnavailableError

BATCH_INCIDENTS: Final = 200
_IN_FLIGHT: Final = 8
_ATTEMPTS: Final = 60
_RETRY_STATUS: Final = frozenset({429, 503})
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that cannot be read: where it is, why, and what it says."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file to take over: where it is, how its text is encoded, in what order its dates are.

    An order of None is found out, at the time `now`; see `services.imports.dates`.
    """

    path: Path
    now: datetime
    encoding: str | None = None
    order: Order | None = None

    def rows(self) -> Iterator[csv_files.CsvRow]:
        """Yield the file's rows. Raises: StartupError."""
        return read_rows(self.path, COLUMNS, self.encoding)


@dataclass(slots=True)
class ImportReport:
    """What an import came to. `added` and `known` count events, by service.

    `lost` counts the rows that could not be read, by incident, where they name one.
    """

    rows: int = 0
    incidents: int = 0
    added: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])
    refused: list[str] = field(default_factory=list[str])
    parked: list[UnreadableRow] = field(default_factory=list[UnreadableRow])
    lost: Counter[str] = field(default_factory=Counter[str])
    taken: set[str] = field(default_factory=set[str])
    disagreements: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_whole(self) -> bool:
        """Whether something was taken over, and nothing of it was lost."""
        return self.incidents > 0 and not self.parked and not self.refused

    @property
    def partial(self) -> list[str]:
        """The incidents that the desk has without some of their rows."""
        return sorted(self.lost.keys() & self.taken)

    @property
    def missing(self) -> list[str]:
        """The incidents of which no row could be read."""
        return sorted(self.lost.keys() - self.taken)

    def park(self, row: csv_files.CsvRow, reason: str) -> None:
        """Note a row that cannot be read."""
        text = ",".join(str(value) for value in row.fields.values())
        self.parked.append(UnreadableRow(row.line, reason, text))
        if number := (row.fields.get("number") or "").strip():
            self.lost[number] += 1

    def note(self, incident: Incident) -> None:
        """Count an incident and where its own accounts disagree."""
        self.incidents += 1
        self.taken.add(incident.number)
        for sentence in incident.disagreements:
            self.disagreements[sentence] += 1
            self.examples.setdefault(sentence, incident.number)


def find_order(source: Source) -> Order:
    """Return the order of the file's dates, having read it to its end.

    Raises: StartupError when it cannot be read; InvalidInputError when one date contradicts
    another, or none proves the order.
    """
    evidence = Evidence(source.now, source.order)
    for row in source.rows():
        for name in DATES:
            if text := row.fields.get(name):
                evidence.note(row.line, name, text)
    return evidence.order()


def read_incidents(
    source: Source, order: Order, report: ImportReport, progress: Callable[[int], None]
) -> Iterator[Incident]:
    """Yield the incidents of a file whose dates are in that order; bad rows are parked.

    `progress` is told how many bytes of the file have been read. Raises: StartupError when the
    file cannot be read at all.
    """
    waiting: list[IncidentUpdate] = []
    finished: set[str] = set()
    for found in source.rows():
        report.rows += 1
        try:
            row = read_row(found.line, found.fields, order, finished)
        except InvalidInputError as error:
            report.park(found, error.detail)
            continue
        if waiting and waiting[0].number != row.number:
            finished.add(waiting[0].number)
            yield take_over(waiting)
            waiting = []
            progress(found.position)
        waiting.append(row)
    if waiting:
        yield take_over(waiting)


async def send(
    client: httpx.AsyncClient,
    incidents: Iterator[Incident],
    report: ImportReport,
    source: str = SOURCE,
) -> None:
    """Send all incidents of a system, a few batches at a time.

    Raises: UnavailableError when the desk stays away; starting again then goes on.
    """
    room = asyncio.Semaphore(_IN_FLIGHT)
    async with asyncio.TaskGroup() as group:

        async def deliver(batch: Sequence[Incident]) -> None:
            try:
                await _send_batch(client, batch, report, source)
            finally:
                room.release()

        for batch in _batches(incidents):
            for incident in batch:
                report.note(incident)
            await room.acquire()
            group.create_task(deliver(batch))


def _batches(incidents: Iterator[Incident]) -> Iterator[list[Incident]]:
    batch: list[Incident] = []
    for incident in incidents:
        batch.append(incident)
        if len(batch) == BATCH_INCIDENTS:
            yield batch
            batch = []
    if batch:
        yield batch


async def _send_batch(
    client: httpx.AsyncClient, batch: Sequence[Incident], report: ImportReport, source: str
) -> None:
    """Send a batch to all doors, intake's first: a ticket that it refuses is nowhere else."""
    refused: set[str] = set()
    for service in ("intake", "routing", "sla"):
        streams = [
            {"stream_id": name, "events": [_event(past) for past in pasts]}
            for incident in batch
            if (name := str(incident.ticket_id)) not in refused
            and (pasts := getattr(incident, service))
        ]
        if not streams:
            continue
        body = _encoder.encode({"source": source, "streams": streams})
        for result in await _post(client, f"/{service}/history:batch", body):
            report.added[service] += result.get("added", 0)
            report.known[service] += result.get("known", 0)
            if "error" in result:
                reason = result["error"]["detail"]
                report.refused.append(f"{service} {result['stream_id']}: {reason}")
                if service == "intake":
                    refused.add(result["stream_id"])


def _event(past: ImportedEvent) -> dict[str, Any]:
    return {"type": past.data.TYPE, "time": past.time, "actor": past.actor, "data": past.data}


async def _post(client: httpx.AsyncClient, path: str, body: bytes) -> list[dict[str, Any]]:
    for attempt in range(_ATTEMPTS):
        response = await client.post(
            path, content=body, headers={"Content-Type": "application/json"}
        )
        if response.is_success:
            return response.json()["results"]
        if response.status_code not in _RETRY_STATUS:
            raise UnavailableError(f"{path}: HTTP {response.status_code}: {response.text[:300]}")
        await asyncio.sleep(float(response.headers.get("Retry-After", min(attempt, 5))))
    raise UnavailableError(f"{path}: the desk stays too busy; start the import again to go on")
