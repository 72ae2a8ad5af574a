"""Every command in every state: the whole table, so that no cell is an accident."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from services.intake.domain.commands import (
    CancelTicket,
    CloseTicket,
    CommentTicket,
    CreateTicket,
    HoldTicket,
    RateTicket,
    ReopenTicket,
    ResolveTicket,
    ResumeTicket,
    StartTicket,
    TicketCommand,
    UpdateTicket,
)
from services.intake.domain.record import (
    RecordRules,
    Submission,
    accept,
    number_of,
    numbered,
)
from services.intake.domain.ticket import Ticket, decide, evolve
from shared.contracts.envelope import Lineage
from shared.contracts.intake import Requester, Scope, TicketClosed, TicketReported
from shared.errors import (
    DeskError,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    ReusedIdError,
)

ID = UUID(int=1)
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
CREATE = CreateTicket(
    ID, "INC-000001", "incident", "VPN drops", "", Requester(id="ann"), None, AT, None, None,
    Scope(), "network", None, "api", "test",
)  # fmt: skip
COMMANDS: dict[str, TicketCommand] = {
    "create": CREATE,
    "update": UpdateTicket(ID, title="Wi-Fi drops"),
    "comment": CommentTicket(ID, UUID(int=2), "bo", "agent", "public", "We are on it."),
    "start": StartTicket(ID, "bo"),
    "hold": HoldTicket(ID, "vendor", ""),
    "resume": ResumeTicket(ID),
    "resolve": ResolveTicket(ID, "bo", "new certificate"),
    "close": CloseTicket(ID, "ann", "solved"),
    "reopen": ReopenTicket(ID, "ann", "again"),
    "cancel": CancelTicket(ID, "ann", "twice"),
    "rate": RateTicket(ID, "ann", 5, ""),
}
STATES: dict[str, list[str]] = {
    "unknown": [],
    "new": ["create"],
    "in_progress": ["create", "start"],
    "on_hold": ["create", "hold"],
    "resolved": ["create", "resolve"],
    "closed": ["create", "resolve", "close"],
    "cancelled": ["create", "cancel"],
}
# + an event, = an honest retry, ! forbidden, ? no such ticket
TABLE = """
             create update comment start hold resume resolve close reopen cancel rate
unknown      +      ?      ?       ?     ?    ?      ?       ?     ?      ?      ?
new          =      +      +       +     +    !      +       !     !      +      !
in_progress  =      +      +       =     +    !      +       !     !      +      !
on_hold      =      +      +       !     =    +      +       !     !      +      !
resolved     =      +      +       !     !    !      =       +     +      !      +
closed       =      !      +       !     !    !      !       =     +      !      +
cancelled    =      !      +       !     !    !      !       !     !      =      !
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    (row[0], command, cell) for row in ROWS for command, cell in zip(HEAD, row[1:], strict=True)
]
ERRORS: dict[str, type[DeskError]] = {"!": IllegalTransitionError, "?": NotFoundError}


def ticket_in(state: str) -> Ticket:
    ticket = Ticket()
    for name in STATES[state]:
        for event in decide(COMMANDS[name], ticket):
            ticket = evolve(ticket, event, AT)
    return ticket


@pytest.mark.parametrize(("state", "command", "cell"), CELLS)
def test_every_cell_of_the_table(state: str, command: str, cell: str) -> None:
    ticket = ticket_in(state)
    assert ticket.status == state
    if cell in ERRORS:
        with pytest.raises(ERRORS[cell]):
            decide(COMMANDS[command], ticket)
        return
    events = decide(COMMANDS[command], ticket)
    assert len(events) == (cell == "+")
    for event in events:
        ticket = evolve(ticket, event, AT)
    assert decide(COMMANDS[command], ticket) == [], "asking again adds nothing"


def test_a_reused_id_names_the_field_that_differs() -> None:
    other = CreateTicket(
        ID, "INC-000009", "incident", "Printer", "", Requester(id="ann"), None, AT, None, None,
        Scope(), "network", None, "api", "test",
    )  # fmt: skip
    with pytest.raises(ReusedIdError) as caught:
        decide(other, ticket_in("new"))
    assert caught.value.field == "/title"


def test_a_report_without_a_time_may_be_repeated_later() -> None:
    later = CreateTicket(
        ID, "INC-000002", "incident", "VPN drops", "", Requester(id="ann"), None,
        AT + timedelta(hours=1), None, None, Scope(), "network", None, "api", "test",
    )  # fmt: skip
    assert decide(later, ticket_in("new")) == []


def test_a_comment_id_stands_for_one_comment() -> None:
    (said,) = decide(COMMANDS["comment"], ticket_in("new"))
    ticket = evolve(ticket_in("new"), said, AT)
    with pytest.raises(ReusedIdError):
        decide(CommentTicket(ID, UUID(int=2), "bo", "agent", "public", "Other words"), ticket)


def test_closing_states_the_resolution_that_stands() -> None:
    ticket = ticket_in("resolved")
    for event in decide(COMMANDS["reopen"], ticket):
        ticket = evolve(ticket, event, AT)
    later = AT + timedelta(hours=3)
    for event in decide(ResolveTicket(ID, "bo", "new cable"), ticket):
        ticket = evolve(ticket, event, later)
    (closed,) = decide(COMMANDS["close"], ticket)
    assert isinstance(closed, TicketClosed)
    assert (closed.resolved_at, closed.reopen_count) == (later, 1)


def report(**changes: object) -> TicketReported:
    fields: dict[str, object] = {"requester": Requester(id="ann"), "title": "VPN", **changes}
    return TicketReported(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "   "}, "/title"),
        ({"category": "cars"}, "/category"),
        ({"occurred_at": AT + timedelta(seconds=301)}, "/occurred_at"),
    ],
)
def test_a_record_that_breaks_a_rule_names_the_field(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        accept_it(report(**changes))
    assert caught.value.field == field


def accept_it(record: TicketReported) -> CreateTicket:
    submission = Submission(ID, record, AT, "test", Lineage(actor="ann", correlation_id="test"))
    return numbered(accept(submission, RecordRules(300, {"service"})), 1)


def test_a_clock_a_little_ahead_is_believed() -> None:
    assert accept_it(report(occurred_at=AT + timedelta(seconds=300), category="service"))


def test_numbers_say_what_kind_of_ticket_it_is() -> None:
    assert (number_of("incident", 123), number_of("service_request", 124)) == (
        "INC-000123",
        "REQ-000124",
    )


def test_what_was_asked_before_rules_changed_is_known_when_it_comes_again() -> None:
    """How a caller's address was written, and for which side a system's words counted."""
    said = msgspec.structs.replace(CREATE, origin="/http/Pat@example.org")
    ticket = evolve(Ticket(), decide(said, Ticket())[0], AT)
    assert decide(msgspec.structs.replace(said, origin="/http/pat@example.org"), ticket) == []
    with pytest.raises(ReusedIdError):
        decide(msgspec.structs.replace(said, origin="/http/kim@example.org"), ticket)
    comment = CommentTicket(ID, UUID(int=2), "mail", "agent", "public", "Hello?")
    ticket = evolve(ticket, decide(comment, ticket)[0], AT)
    again = msgspec.structs.replace(comment, author_role="requester")
    assert decide(again, ticket) == []
    with pytest.raises(ReusedIdError):
        decide(msgspec.structs.replace(again, text="Bye."), ticket)
