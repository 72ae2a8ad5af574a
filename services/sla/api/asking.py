"""What the routes of sla have in common: who may ask, and how."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Path, Query

from shared.contracts.base import KEY_PATTERN
from shared.http.auth import Principal, Role, requires

_READ_ALL: Final = (Role.AGENT, Role.MANAGER, Role.AUDITOR, Role.INTEGRATION)
Reader = Annotated[Principal, Depends(requires(*_READ_ALL))]
ReaderOrRequester = Annotated[Principal, Depends(requires(*_READ_ALL, Role.REQUESTER))]
Manager = Annotated[Principal, Depends(requires(Role.MANAGER))]
At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
Limit = Annotated[int, Query(ge=1, le=500)]
Id = Annotated[str, Path(min_length=1, max_length=200, pattern=KEY_PATTERN)]


def sees_all(principal: Principal) -> bool:
    """Say whether the caller may read about everybody's tickets, not their own alone."""
    return principal.has(*_READ_ALL)
