"""ServiceNow's incident audit log: rows in, facts of intake, routing and sla out. Pure.

The rows of an incident are its timeline. What its last row states of opening, solution, closing,
priority, reassignments, reopenings and SLA is the source's own account, which the KPIs follow;
where the two disagree, `disagreements` says so.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, TypeVar
from uuid import UUID

from services.imports import servicenow_words as words
from services.imports.dates import Order, read_instant
from shared.contracts.base import Level, Priority
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCreated,
    TicketEvent,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.contracts.routing import RoutingTicketEvent, TicketAssigned, TicketPrioritized
from shared.contracts.sla import SlaMet, SlaMissed
from shared.errors import InvalidInputError
from shared.ids import reported_ticket_id

_V = TypeVar("_V")

SOURCE: Final = "servicenow"
COLUMNS: Final = (
    *("number", "incident_state", "sys_updated_at", "sys_updated_by", "opened_at", "contact_type"),
    *("impact", "urgency", "priority", "reassignment_count", "reopen_count", "made_sla"),
)
"""What every row needs."""
DATES: Final = ("opened_at", "sys_updated_at", "resolved_at", "closed_at")
_UNASSIGNED: Final = "unassigned"


@dataclass(frozen=True, slots=True)
class IncidentUpdate:
    """One update of one incident, checked; `state` is ours, a hold by its reason.

    `beyond` tells of a priority for which ours have no rank.
    """

    line: int
    number: str
    state: str
    at: datetime
    by: str
    opened_at: datetime
    opened_by: str
    resolved_at: datetime | None
    resolved_by: str
    closed_at: datetime | None
    code: str
    caller: str
    channel: str
    category: str | None
    title: str
    symptom: str | None
    service: str | None
    impact: Level
    urgency: Level
    priority: Priority
    beyond: str
    group: str | None
    agent: str | None
    reassignment_count: int
    reopen_count: int
    made_sla: bool


@dataclass(frozen=True, slots=True)
class ImportedEvent:
    """One event of the past, as the import doors take it."""

    data: TicketEvent | RoutingTicketEvent | SlaMet | SlaMissed
    time: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident's past, by the service that owns each fact."""

    ticket_id: UUID
    number: str
    intake: tuple[ImportedEvent, ...]
    routing: tuple[ImportedEvent, ...]
    sla: tuple[ImportedEvent, ...]
    disagreements: tuple[str, ...]


def read_row(
    line: int,
    fields: Mapping[str | None, str | None],
    order: Order,
    finished: Collection[str] = (),
) -> IncidentUpdate:
    """Check one row, whose dates are in that order.

    `finished` are the incidents whose rows have all been read already. Raises: InvalidInputError
    naming the column at fault.
    """
    if None in fields.values() or None in fields:
        raise InvalidInputError("the row has not as many columns as the header")
    text = {str(name): (value or "").strip() for name, value in fields.items()}
    number = _required(text, "number")
    if number in finished:
        raise InvalidInputError(f"rows of {number} are not together", field="number")
    priority = text.get("priority", "")
    subcategory = _optional(text, "subcategory")
    category = _optional(text, "category")
    return IncidentUpdate(
        line=line,
        number=number,
        state=_state(text),
        at=_instant(text, "sys_updated_at", order),
        by=_required(text, "sys_updated_by"),
        opened_at=_instant(text, "opened_at", order),
        opened_by=_optional(text, "opened_by") or "unknown",
        resolved_at=_optional_instant(text, "resolved_at", order),
        resolved_by=_optional(text, "resolved_by") or "unknown",
        closed_at=_optional_instant(text, "closed_at", order),
        code=_optional(text, "closed_code") or "unknown",
        caller=_optional(text, "caller_id") or "unknown",
        channel=_mapped(text, "contact_type", words.CHANNELS),
        category=category,
        title=", ".join(part for part in (category, subcategory) if part) or "Incident",
        symptom=_optional(text, "u_symptom"),
        service=_optional(text, "cmdb_ci"),
        impact=_ranked(text, "impact", words.LEVELS),
        urgency=_ranked(text, "urgency", words.LEVELS),
        priority=_ranked(text, "priority", words.PRIORITIES),
        beyond=f" as {priority}" if _number(priority) in words.BEYOND else "",
        group=_optional(text, "assignment_group"),
        agent=_optional(text, "assigned_to"),
        reassignment_count=_count(text, "reassignment_count"),
        reopen_count=_count(text, "reopen_count"),
        made_sla=_mapped(text, "made_sla", words.TRUTHS),
    )


def take_over(rows: Sequence[IncidentUpdate]) -> Incident:
    """Turn the rows of one incident, in the file's order, into its past. `rows` is not empty."""
    ticket_id = reported_ticket_id(SOURCE, rows[0].number)
    intake = tuple(_intake(ticket_id, rows))
    return Incident(
        ticket_id=ticket_id,
        number=rows[0].number,
        intake=intake,
        routing=tuple(_routing(ticket_id, rows)),
        sla=tuple(_sla(ticket_id, rows[-1])),
        disagreements=tuple(_disagreements(rows, intake)),
    )


def _intake(ticket_id: UUID, rows: Sequence[IncidentUpdate]) -> Iterator[ImportedEvent]:
    first, last = rows[0], rows[-1]
    yield ImportedEvent(_created(ticket_id, first), first.opened_at, first.opened_by)
    closes = [
        place
        for place, row in enumerate(rows)
        if row.state == "closed" and (place == 0 or rows[place - 1].state != "closed")
    ]
    state, record = "new", _record(ticket_id, first)
    for place, row in enumerate(rows):
        corrected = _record(ticket_id, row)
        if corrected != record:
            record = corrected
            yield ImportedEvent(corrected, row.at, row.by)
        is_final = closes != [] and place == closes[-1] and last.state == "closed"
        for event in _transition(ticket_id, state, row, last if is_final else row):
            is_closing = isinstance(event, TicketClosed) and is_final
            yield ImportedEvent(event, (last.closed_at or row.at) if is_closing else row.at, row.by)
        if row.state != "new":
            state = row.state


def _transition(
    ticket_id: UUID, state: str, row: IncidentUpdate, statement: IncidentUpdate
) -> Iterator[TicketEvent]:
    """Yield what leads from `state` to the row's; going back to New yields nothing."""
    if row.state in {state, "new"}:
        return
    if state in words.ENDS and row.state not in {"closed", "cancelled"}:
        yield TicketReopened(
            ticket_id=ticket_id, reopened_by=row.by, reason="", reopen_count=row.reopen_count
        )
        state = "in_progress"
    match row.state:
        case "in_progress" if state == "new":
            yield TicketStarted(ticket_id=ticket_id, agent_id=row.agent or row.by)
        case "in_progress" if state not in words.NOT_HOLDS:
            yield TicketResumed(ticket_id=ticket_id)
        case "in_progress":
            return
        case "resolved":
            yield TicketResolved(
                ticket_id=ticket_id, resolved_by=row.resolved_by, resolution=row.code
            )
        case "closed":
            yield TicketClosed(
                ticket_id=ticket_id,
                closed_by=row.by,
                code=row.code,
                resolved_at=statement.resolved_at,
                reopen_count=statement.reopen_count,
            )
        case "cancelled":
            yield TicketCancelled(ticket_id=ticket_id, cancelled_by=row.by, reason=row.code)
        case reason:
            yield TicketHeld(ticket_id=ticket_id, reason=reason)


def _routing(ticket_id: UUID, rows: Sequence[IncidentUpdate]) -> Iterator[ImportedEvent]:
    rank: tuple[str, str, str] | None = None
    place: tuple[str | None, str | None, int] = (None, None, 0)
    for row in rows:
        if (row.priority, row.impact, row.urgency) != rank:
            at = row.opened_at if rank is None else row.at
            rank = (row.priority, row.impact, row.urgency)
            yield ImportedEvent(_prioritized(ticket_id, row), at, row.by)
        if (row.group, row.agent, row.reassignment_count) != place:
            place = (row.group, row.agent, row.reassignment_count)
            yield ImportedEvent(_assigned(ticket_id, row), row.at, row.by)


def _sla(ticket_id: UUID, last: IncidentUpdate) -> Iterator[ImportedEvent]:
    if last.closed_at is None or last.state == "cancelled":
        return
    outcome = SlaMet if last.made_sla else SlaMissed
    verdict = outcome(
        ticket_id=ticket_id,
        target="resolution",
        stopped_at=last.resolved_at or last.closed_at,
        due_at=None,
        elapsed_seconds=None,
        source_system=SOURCE,
    )
    yield ImportedEvent(verdict, last.closed_at, SOURCE)


def _disagreements(
    rows: Sequence[IncidentUpdate], intake: Sequence[ImportedEvent]
) -> Iterator[str]:
    last = rows[-1]
    solved = [past.time for past in intake if isinstance(past.data, TicketResolved)]
    reopened = sum(isinstance(past.data, TicketReopened) for past in intake)
    moves = sum(
        (a.group, a.agent) != (b.group, b.agent) and a.group is not None for a, b in pairwise(rows)
    )
    if solved and last.resolved_at is None:
        yield "went through Resolved, but states no resolved_at"
    if solved and last.resolved_at is not None and solved[-1] != last.resolved_at:
        yield "states another resolved_at than its last change to Resolved"
    if not solved and last.resolved_at is not None:
        yield "states a resolved_at, but never went through Resolved"
    if last.state not in {"closed", "cancelled"}:
        yield "its last row is not Closed"
    if reopened != last.reopen_count:
        yield "states another reopen_count than it has changes back from Resolved or Closed"
    if moves != last.reassignment_count:
        yield "states another reassignment_count than it has changes of group or person"
    if rows[0].at < rows[0].opened_at:
        yield "was updated before its opened_at"


def _created(ticket_id: UUID, row: IncidentUpdate) -> TicketCreated:
    return TicketCreated(
        ticket_id=ticket_id,
        number=row.number,
        kind="incident",
        title=row.title,
        description=row.symptom or "",
        requester=Requester(id=row.caller),
        occurred_at=row.opened_at,
        impact=row.impact,
        urgency=row.urgency,
        scope=Scope(),
        category=row.category,
        service=row.service,
        channel=row.channel,
        origin=SOURCE,
    )


def _record(ticket_id: UUID, row: IncidentUpdate) -> TicketUpdated:
    return TicketUpdated(
        ticket_id=ticket_id,
        title=row.title,
        description=row.symptom or "",
        impact=row.impact,
        urgency=row.urgency,
        scope=Scope(),
        category=row.category,
        service=row.service,
    )


def _prioritized(ticket_id: UUID, row: IncidentUpdate) -> TicketPrioritized:
    return TicketPrioritized(
        ticket_id=ticket_id,
        priority=row.priority,
        impact=row.impact,
        urgency=row.urgency,
        reasons=(f"stated by ServiceNow{row.beyond}",),
        policy_version=0,
    )


def _assigned(ticket_id: UUID, row: IncidentUpdate) -> TicketAssigned:
    return TicketAssigned(
        ticket_id=ticket_id,
        group=row.group or _UNASSIGNED,
        agent_id=row.agent,
        line=1,
        reassignment_count=row.reassignment_count,
        reasons=("stated by ServiceNow",),
    )


def _required(text: Mapping[str, str], name: str) -> str:
    value = _optional(text, name)
    if value is None:
        raise InvalidInputError(f"{name} is missing", field=name)
    return value


def _optional(text: Mapping[str, str], name: str) -> str | None:
    value = text.get(name, "")
    return None if value.lower() in words.MISSING else value


def _state(text: Mapping[str, str]) -> str:
    value = _required(text, "incident_state")
    state = words.state_of(value, _optional(text, "hold_reason"))
    if state is None:
        raise InvalidInputError(f"incident_state is unknown: {value!r}", field="incident_state")
    return state


def _instant(text: Mapping[str, str], name: str, order: Order) -> datetime:
    try:
        return read_instant(_required(text, name), order)
    except InvalidInputError as error:
        told = error.detail if error.field else f"{name} {error.detail}"
        raise InvalidInputError(told, field=name) from error


def _optional_instant(text: Mapping[str, str], name: str, order: Order) -> datetime | None:
    return None if _optional(text, name) is None else _instant(text, name, order)


def _count(text: Mapping[str, str], name: str) -> int:
    value = _required(text, name)
    if not value.isdecimal():
        raise InvalidInputError(f"{name} is no count: {value!r}", field=name)
    return int(value)


def _mapped(text: Mapping[str, str], name: str, values: Mapping[str, _V]) -> _V:
    value = _required(text, name)
    key = words.plain(value)
    if key not in values:
        raise InvalidInputError(f"{name} is unknown: {value!r}", field=name)
    return values[key]


def _ranked(text: Mapping[str, str], name: str, values: Mapping[str, _V]) -> _V:
    """Return the value of `2 - Medium`, of `2` or of `Medium`."""
    value = _required(text, name)
    return _mapped({name: _number(value) if _number(value) in values else value}, name, values)


def _number(text: str) -> str:
    return words.plain(text).split(" ", 1)[0]
