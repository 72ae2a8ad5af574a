"""What the past of a ticket must be that is taken over from another system. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared.contracts.base import EventData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketMerged,
    TicketResolved,
)
from shared.errors import InvalidInputError

_MEASURED: Final = (TicketCommented, TicketResolved, TicketClosed, TicketCancelled, TicketMerged)
"""What is measured from a ticket's creation. Of work begun before it, real logs do tell."""


def require_life(past: Sequence[tuple[EventData, datetime]]) -> None:
    """Raise InvalidInputError unless a ticket is created once, first, and answered after that."""
    for place, (data, time) in enumerate(past):
        created, pointer = past[0][1], f"/events/{place}"
        if isinstance(data, TicketCreated) != (place == 0):
            raise _refusal(f"{pointer}/type", f"{TicketCreated.TYPE} comes first, and once")
        if isinstance(data, _MEASURED) and time < created:
            raise _refusal(f"{pointer}/time", f"{data.TYPE} lies before {TicketCreated.TYPE}")
        solved = data.resolved_at if isinstance(data, TicketClosed) else None
        if solved is not None and solved < created:
            raise _refusal(f"{pointer}/data/resolved_at", f"it lies before {TicketCreated.TYPE}")


def _refusal(field: str, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {reason}", field=field)
