"""Routes by which an operator sees what did not arrive, and has it sent again."""

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict
from uuid import UUID

from fastapi import APIRouter, Query

from shared.deliveries.letters import REDRIVEN_MAX, DeliveryView, Letters, Shown
from shared.errors import NotFoundError
from shared.http import openapi
from shared.http.answers import Answer
from shared.http.auth import Admitted
from shared.runtime.service import Service


class Deliveries(TypedDict):
    """The deliveries in one state."""

    deliveries: Sequence[DeliveryView]


class Redriven(TypedDict):
    """How many are sent again; `has_more` where others wait."""

    redriven: int
    has_more: NotRequired[bool]


class Discarded(TypedDict):
    """How many were given up."""

    discarded: int


def deliveries_router(service: Service) -> APIRouter:
    """Return the routes."""
    router = openapi.router("deliveries")
    letters = Letters(service.pool)

    @router.get("/deliveries", summary="What is to leave the desk, has left it, or could not")
    async def listed(
        _: Admitted,
        state: Shown = "dead",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Answer[Deliveries]:
        return Answer({"deliveries": await letters.list(state, limit)})

    @router.get("/deliveries/{delivery_id}", summary="One delivery")
    async def one(_: Admitted, delivery_id: UUID) -> Answer[DeliveryView]:
        found = await letters.show(delivery_id)
        if found is None:
            raise NotFoundError(f"no delivery {delivery_id}")
        return Answer(found)

    @router.post(
        "/deliveries/redrive", summary="Send the dead ones of a URL again, 1,000 at a time"
    )
    async def redrive_all(_: Admitted, target: str) -> Answer[Redriven]:
        count = await letters.redrive(service.clock.now(), target=target)
        return Answer({"redriven": count, "has_more": count == REDRIVEN_MAX})

    @router.post("/deliveries/{delivery_id}/redrive", summary="Send a dead one again")
    async def redrive(_: Admitted, delivery_id: UUID) -> Answer[Redriven]:
        count = await letters.redrive(service.clock.now(), delivery_id=delivery_id)
        if not count:
            raise NotFoundError(f"no dead delivery {delivery_id}")
        return Answer({"redriven": count})

    @router.post("/deliveries/{delivery_id}/discard", summary="Give a dead one up")
    async def discard(_: Admitted, delivery_id: UUID) -> Answer[Discarded]:
        if not await letters.discard(delivery_id, service.clock.now()):
            raise NotFoundError(f"no dead delivery {delivery_id}")
        return Answer({"discarded": 1})

    return router
