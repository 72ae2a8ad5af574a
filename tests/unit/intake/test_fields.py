"""A field of a ticket is one line in the contract and one where people see it; or this is red."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from support.samples import sample_events

from services.intake.domain.commands import CreateTicket, UpdateTicket
from services.intake.domain.record import RecordRules, Submission, accept, numbered
from services.intake.domain.ticket import Ticket, decide, evolve
from services.intake.projections import project_board
from services.intake.queries import TicketView
from services.intake.schemas import Correction
from services.intake.tables import BOARD, Link
from shared.contracts.envelope import Lineage
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCreated,
    TicketReported,
    TicketUpdated,
)

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
NOT_SHOWN = {
    # field → why the board has no column for it
    "ticket_id": "the row's key",
    "origin": "says who may ask for the ticket, and is nobody's business else",
    "split_from": "a link, in a table of its own",
}
REPORT = TicketReported(
    requester=Requester(
        id="ann", name="Ann Lee", contact="a@x.org", department="Sales", customer="ACME", site="B1"
    ),
    title="VPN drops",
    description="Since this morning.",
    kind="service_request",
    occurred_at=AT.replace(hour=7),
    impact="high",
    urgency="low",
    scope=Scope(people=41, sites=3),
    category="network",
    service="vpn",
    channel="chat",
    split_from=UUID(int=2),
)


def created() -> TicketCreated:
    submission = Submission(
        UUID(int=1), REPORT, AT, "/door#7", Lineage(actor="ann", correlation_id="c")
    )
    (event,) = decide(numbered(accept(submission, RecordRules(0, ())), 123), Ticket())
    assert isinstance(event, TicketCreated)
    return event


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value of a record, by the name of its field."""
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from leaves(getattr(value, field), field)
    else:
        yield name, value


def test_the_sample_has_a_value_of_its_own_in_every_field() -> None:
    values = [value for name, value in leaves(REPORT) if name != "ticket_id"]
    assert None not in values
    assert len(set(values)) == len(values)


def test_whatever_is_reported_is_recorded() -> None:
    event = created()
    for name in set(TicketReported.__struct_fields__) - {"ticket_id"}:
        assert getattr(event, name) == getattr(REPORT, name), name
    assert set(TicketCreated.__struct_fields__) <= set(CreateTicket.__struct_fields__)


def test_whatever_may_be_corrected_can_be_asked_for_and_is_known_from_the_start() -> None:
    correctable = set(TicketUpdated.__struct_fields__) - {"ticket_id"}
    assert set(Correction.__struct_fields__) == correctable
    assert set(UpdateTicket.__struct_fields__) == correctable | {"ticket_id"}
    record = evolve(Ticket(), created(), AT).record
    assert record is not None
    for name in correctable:
        assert getattr(record, name) == getattr(REPORT, name), name


def test_whatever_is_recorded_is_on_the_board_and_shown() -> None:
    event = created()
    any_creation = next(one for one in sample_events() if isinstance(one.data, TicketCreated))
    facets = list(project_board(msgspec.structs.replace(any_creation, data=event)))
    board = [one for one in facets if type(one) in BOARD.facets]
    shown = {name: value for facet in board for name, value in leaves(facet)}
    assert set(shown) <= set(TicketView.__struct_fields__)
    for name, value in leaves(event):
        if name not in NOT_SHOWN:
            assert value in shown.values(), name
    assert Link(UUID(int=2), "split_from") in facets
    columns = {field for facet in BOARD.facets for field in facet.__struct_fields__}
    assert set(TicketView.__struct_fields__) == columns | {"ticket_id", "sequence"}
