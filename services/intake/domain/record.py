"""The standard record: from what a caller reports to the command that makes a ticket of it."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.intake.domain.commands import CreateTicket
from services.intake.domain.ticket import Ticket
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketReported
from shared.contracts.visible import is_blank
from shared.errors import InvalidInputError

CATEGORIES: Final = frozenset({"hardware", "software", "network", "system"})
PEOPLE: Final = "/http/"
"""So begins the origin of what is reported over HTTP by who is no source."""
SOURCE_BYTES_MAX: Final = 1_800
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_PREFIX: Final = {"incident": "INC", "service_request": "REQ"}
_DERIVED: Final = 5
NUMBER_FORM: Final = "^(?:INC|REQ)-([0-9]{6,12})$"
_NUMBER: Final = re.compile(NUMBER_FORM, re.ASCII)
_RECORD: Final = tuple(
    name
    for name in CreateTicket.__struct_fields__
    if name in TicketReported.__struct_fields__ and name != "ticket_id"
)
"""What a ticket takes from its report as it is."""


def number_of(kind: str, number: int) -> str:
    """Return the number people read out, such as INC-000123 or REQ-000124."""
    return f"{_PREFIX[kind]}-{number:06d}"


def number_in(text: str) -> int | None:
    """Return what `number_of` made a number of; None for one that another system gave."""
    found = _NUMBER.match(text)
    return None if found is None else int(found[1])


def require_category(category: str, categories: Collection[str]) -> None:
    """Raise InvalidInputError unless a category is one of these, or of the four standard ones."""
    allowed = CATEGORIES | set(categories)
    if category not in allowed:
        raise InvalidInputError(
            f"category must be one of {', '.join(sorted(allowed))}", field="/category"
        )


def require_unclaimed(chosen: UUID | None, derived: UUID | None = None, field: str = "") -> None:
    """Raise InvalidInputError for an id of version 5 that the sender names, unless it is `derived`.

    Those are ids that the desk derives from who sends and by which key; anybody could derive what
    another's report will be called, and take the name away.
    """
    if chosen is not None and chosen.version == _DERIVED and chosen != derived:
        raise InvalidInputError(
            f"{field}: a UUID of version 5 is not yours to choose; name a random one, or leave it"
            " out and send an Idempotency-Key",
            field=field,
        )


def is_ownable(source: str) -> bool:
    """Say whether a source is one that somebody can have: an index holds so many bytes."""
    return len(source.encode()) <= SOURCE_BYTES_MAX


def require_source(source: str) -> None:
    """Raise InvalidInputError for a source that no system can have over HTTP.

    What begins like the names of people's reports could take the ids of theirs.
    """
    if not is_ownable(source):
        raise InvalidInputError(
            f"source: it has more than {SOURCE_BYTES_MAX} bytes", field="source"
        )
    if source.startswith(PEOPLE):
        raise InvalidInputError(f"source: {PEOPLE}… are the names of people", field="source")


class Submission(Struct, frozen=True):
    """A report at one of the doors: the ticket it is to become, and where it came from."""

    ticket_id: UUID
    record: TicketReported
    reported_at: datetime
    origin: str
    lineage: Lineage


class RecordRules(NamedTuple):
    """What this desk asks of a report; `categories` are allowed beside the four standard ones."""

    skew_seconds_max: int
    categories: Collection[str]


def event_origin(source: str, event_id: str) -> str:
    """Return the origin of what an event reported."""
    return f"{source}#{event_id}"


def require_whole(record: TicketReported, whole: Ticket, *, is_theirs: bool) -> None:
    """Raise InvalidInputError, the same for a ticket that is not there and one not for them."""
    if whole.created is None or not is_theirs:
        raise InvalidInputError(f"no ticket {record.split_from}", field="/split_from")


def accept(submission: Submission, rules: RecordRules) -> CreateTicket:
    """Return the command for a report, its number still to be drawn: what is refused costs none.

    Raises: InvalidInputError naming the field that breaks a rule.
    """
    report, reported_at = submission.record, submission.reported_at
    if is_blank(report.title):
        raise InvalidInputError("the title is blank", field="/title")
    if report.occurred_at is not None and report.occurred_at < _EARLIEST:
        raise InvalidInputError(f"occurred_at is before {_EARLIEST.year}", field="/occurred_at")
    skew_seconds_max = rules.skew_seconds_max
    latest = reported_at + timedelta(seconds=skew_seconds_max)
    if report.occurred_at is not None and report.occurred_at > latest:
        raise InvalidInputError(
            f"occurred_at is more than {skew_seconds_max} s in the future", field="/occurred_at"
        )
    if report.category is not None:
        require_category(report.category, rules.categories)
    told = {name: getattr(report, name) for name in _RECORD}
    return CreateTicket(
        ticket_id=submission.ticket_id,
        number="",
        reported_at=reported_at,
        origin=submission.origin,
        **told,
    )


def numbered(command: CreateTicket, number: int) -> CreateTicket:
    """Return the command with the number that was drawn for it."""
    return replace(command, number=number_of(command.kind, number))
