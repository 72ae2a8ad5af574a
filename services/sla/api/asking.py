"""What the routes of sla have in common: how to ask."""

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query

from shared.contracts.base import KEY_PATTERN

At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
Limit = Annotated[int, Query(ge=1, le=500)]
Id = Annotated[str, Path(min_length=1, max_length=200, pattern=KEY_PATTERN)]
