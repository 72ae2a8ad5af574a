"""What the routes of sla have in common: who may ask, and how."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Query

from shared.contracts.base import KEY_PATTERN
from shared.http.auth import Principal, Role, requires

Reader = Annotated[
    Principal,
    Depends(requires(Role.AGENT, Role.MANAGER, Role.AUDITOR, Role.INTEGRATION)),
]
Manager = Annotated[Principal, Depends(requires(Role.MANAGER))]
At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
Limit = Annotated[int, Query(ge=1, le=500)]
Id = Annotated[str, Path(min_length=1, max_length=200, pattern=KEY_PATTERN)]
