"""The one place that makes ids, and draws lots.

Most ids are derived, so that doing a thing twice names it the same.
"""

import random
from hashlib import sha1
from uuid import UUID, uuid4, uuid5

_EVENTS = UUID("9f0e9a0c-5d5b-5d0b-9a43-0d5f6c1c1a01")
_TICKETS = UUID("9f0e9a0c-5d5b-5d0b-9a43-0d5f6c1c1a02")
_DECISIONS = UUID("9f0e9a0c-5d5b-5d0b-9a43-0d5f6c1c1a03")
_KEYS = UUID("9f0e9a0c-5d5b-5d0b-9a43-0d5f6c1c1a04")
_NOT_VERSION = ~(0xF << 76 | 0b11 << 62)
_VERSION_5 = 5 << 76 | 0b10 << 62


def event_id(writer: str, stream_id: str, sequence: int) -> str:
    """Return the id of the event at that place of the writer's journal; a re-send has the same.

    A UUID of version 5 (RFC 9562), as text: every event gets one, and a UUID object costs as much
    as the rest of its envelope.
    """
    name = f"{writer}/{stream_id}/{sequence}".encode()
    number = int.from_bytes(sha1(_EVENTS.bytes + name, usedforsecurity=False).digest()[:16])
    text = f"{number & _NOT_VERSION | _VERSION_5:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def reported_ticket_id(source: str, report_id: str) -> UUID:
    """Return the ticket that report `report_id` of `source` becomes, however often it comes."""
    return uuid5(_TICKETS, f"{len(source)}:{source}/{report_id}")


def keyed_id(owner: str, key: str) -> UUID:
    """Return the id that `owner`'s Idempotency-Key stands for."""
    return uuid5(_KEYS, f"{len(owner)}:{owner}/{key}")


def decision_id(cause: str, rule: str) -> UUID:
    """Return the id of what `rule` derives from event id `cause`; twice, if decided twice."""
    return uuid5(_DECISIONS, f"{cause}/{rule}")


def random_id() -> UUID:
    """Return a fresh id; for edges only, where nothing else names the thing."""
    return uuid4()


def chance() -> float:
    """Return a number from 0 to just below 1; for edges only, to spread what would come at once."""
    return random.random()  # noqa: S311 nothing secret rests on it
