"""Blank means that nothing can be seen, in every text that must not be empty."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.intake import schemas
from shared.contracts.intake import TicketReported, TicketUpdated
from shared.contracts.limits import excess, require_within
from shared.contracts.visible import is_blank
from shared.errors import InvalidInputError

BLANK = [
    *(" ", "\u3000 ", "\u200b", "\ufeff\u200b\u2060", "\u2800", "\u00ad", "\u202e\u200f", "\t\n"),
    *("\u3164", "\u115f\u1160", "\uffa0", "\u034f", "\ufe0f", "\u180e", "\u17b4", "\u2028"),
    *("\U000e0020", "\U000e0100", "\u2065", "\u0301", "\u061c", "\u00a0", "\ufff9"),
]
SEEN = ["a", "\u200ba", ".", "卡", "é", "e\u0301", "🖨️", "👨‍👩‍👧", "क्षि", "ᄀ", "\U0001fae9", "0"]


@pytest.mark.parametrize("text", BLANK)
def test_invisible_characters_alone_are_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", SEEN)
def test_what_can_be_seen_is_not(text: str) -> None:
    assert not is_blank(text)


REPORT: dict[str, Any] = {"requester": {"id": "ann"}, "title": "VPN drops"}


@pytest.mark.parametrize(
    ("shape", "body", "field"),
    [
        (TicketReported, REPORT | {"title": "\u200b"}, "/title"),
        (TicketReported, REPORT | {"requester": {"id": "\u200b"}}, "/requester/id"),
        (TicketReported, REPORT | {"requester": {"id": "a", "site": "\u2800"}}, "/requester/site"),
        (TicketReported, REPORT | {"service": "\u00a0"}, "/service"),
        (schemas.NewComment, {"text": "\u2060"}, "/text"),
        (schemas.Resolve, {"resolution": " \n"}, "/resolution"),
        (schemas.Reason, {"reason": "\ufeff"}, "/reason"),
        (schemas.Correction, {"title": "\u3164"}, "/title"),
        (schemas.Start, {"agent_id": "\u200b"}, "/agent_id"),
    ],
)
def test_a_door_takes_no_text_that_nobody_sees(shape: type, body: object, field: str) -> None:
    value = msgspec.convert(body, shape)
    with pytest.raises(InvalidInputError, match="must not be blank") as refused:
        require_within(value)
    assert refused.value.field == field


def test_what_may_be_empty_may_be_blank() -> None:
    require_within(msgspec.convert(REPORT | {"description": " "}, TicketReported))


def test_a_ticket_that_has_a_blank_title_already_lives_on() -> None:
    given = {"ticket_id": str(UUID(int=1)), "title": "\u200b", "description": "", "scope": {}}
    names = ("impact", "urgency", "category", "service")
    assert excess(msgspec.convert(given | dict.fromkeys(names), TicketUpdated)) is None
