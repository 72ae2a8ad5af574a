"""Sending the past of incidents to the import doors, batch by batch; repeating changes nothing."""

import asyncio
import csv
import gzip
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import httpx
import msgspec

from services.imports.servicenow import SOURCE, Incident, Past, Row, read_row, take_over
from shared.errors import InvalidInputError, StartupError, UnavailableError

BATCH_INCIDENTS: Final = 200
_IN_FLIGHT: Final = 8
_ATTEMPTS: Final = 60
_RETRY_STATUS: Final = frozenset({429, 503})
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Parked:
    """A row that cannot be read: where it is, why, and what it says."""

    line: int
    reason: str
    row: str


@dataclass(slots=True)
class Report:
    """What an import came to. `added` and `known` count events, by service."""

    rows: int = 0
    incidents: int = 0
    added: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])
    refused: list[str] = field(default_factory=list[str])
    parked: list[Parked] = field(default_factory=list[Parked])
    disagreements: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])

    def note(self, incident: Incident) -> None:
        """Count an incident and where its own accounts disagree."""
        self.incidents += 1
        for sentence in incident.disagreements:
            self.disagreements[sentence] += 1
            self.examples.setdefault(sentence, incident.number)


def read_incidents(
    path: Path, report: Report, progress: Callable[[int], None]
) -> Iterator[Incident]:
    """Yield the incidents of a CSV file, packed or not; bad rows are parked in the report.

    `progress` is told how many bytes of the file have been read. Raises: StartupError when the
    file cannot be read at all.
    """
    waiting: list[Row] = []
    finished: set[str] = set()
    for line, fields, position in _lines(path):
        report.rows += 1
        try:
            row = read_row(line, fields, finished)
        except InvalidInputError as error:
            report.parked.append(Parked(line, error.detail, _as_text(fields)))
            continue
        if waiting and waiting[0].number != row.number:
            finished.add(waiting[0].number)
            yield take_over(waiting)
            waiting = []
            progress(position)
        waiting.append(row)
    if waiting:
        yield take_over(waiting)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str | None], int]]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
            reader = csv.DictReader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
            if "incident_state" not in (reader.fieldnames or ()):
                raise StartupError(f"{path} is no incident log: no column incident_state")
            for fields in reader:
                yield reader.line_num, cast("dict[str, str | None]", fields), file.tell()
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise StartupError(f"cannot read {path}: {error}") from error


def _as_text(fields: dict[str, str | None]) -> str:
    return ",".join(str(value) for value in fields.values())


async def send(client: httpx.AsyncClient, incidents: Iterator[Incident], report: Report) -> None:
    """Send all incidents, a few batches at a time.

    Raises: UnavailableError when the desk stays away; starting again then goes on.
    """
    room = asyncio.Semaphore(_IN_FLIGHT)
    async with asyncio.TaskGroup() as group:

        async def deliver(batch: Sequence[Incident]) -> None:
            try:
                await _send_batch(client, batch, report)
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


async def _send_batch(client: httpx.AsyncClient, batch: Sequence[Incident], report: Report) -> None:
    for service in ("intake", "routing", "sla"):
        streams = [
            {"stream_id": str(incident.ticket_id), "events": [_event(past) for past in pasts]}
            for incident in batch
            if (pasts := getattr(incident, service))
        ]
        if not streams:
            continue
        body = _encoder.encode({"source": SOURCE, "streams": streams})
        for result in await _post(client, f"/{service}/history:batch", body):
            report.added[service] += result.get("added", 0)
            report.known[service] += result.get("known", 0)
            if "error" in result:
                reason = result["error"]["detail"]
                report.refused.append(f"{service} {result['stream_id']}: {reason}")


def _event(past: Past) -> dict[str, Any]:
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
