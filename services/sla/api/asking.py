"""What the routes of sla have in common: how to ask."""

from datetime import datetime
from typing import Annotated

from fastapi import Query

At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
Limit = Annotated[int, Query(ge=1, le=500)]
