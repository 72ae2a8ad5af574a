"""What the routes of sla have in common: how to ask."""

from datetime import datetime
from typing import Annotated, TypeAlias

from fastapi import Query

from shared.http.parameters import KeyInPath

At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
Limit = Annotated[int, Query(ge=1, le=500)]
Id: TypeAlias = KeyInPath
