"""Routing's composition: the only file that puts its parts together."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter

from services.routing.access import ACCESS
from services.routing.api import Routing
from services.routing.chores import Giving, build
from services.routing.handlers.dispatch import Dispatch
from services.routing.projections import READ_MODEL
from services.routing.queries.views import live_tickets
from services.routing.reactions import react
from shared.contracts.registry import topics_of
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.http.named import numbered
from shared.journal.history import ImportRules
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.version import VERSION

_INTAKE = (
    "ticket.created",
    "ticket.updated",
    "ticket.resolved",
    "ticket.closed",
    "ticket.reopened",
    "ticket.cancelled",
    "ticket.merged",
)


def room() -> Room:
    """Return routing."""

    async def on_start(service: Service) -> None:
        await Dispatch(service).publish_default()
        await build(service)

    def routers(service: Service) -> Sequence[APIRouter]:
        return [Routing(service, Dispatch(service)).router()]

    return Room(
        ServiceInfo(
            "routing",
            "Deskledger routing",
            VERSION,
            "Priority, people, escalation.",
            Path(__file__).with_name("examples.json"),
        ),
        Spec(
            name="routing",
            topics=(*topics_of("routing"), *_INTAKE, "sla.breached", "sla.breach_retracted"),
            read_model=READ_MODEL,
            react=react,
            on_start=on_start,
            past=ImportRules(live=live_tickets),
            chores={"giving": Giving().keep},
            migrations={"routing": Path(__file__).parent / "migrations"},
        ),
        routers,
        ACCESS,
        lambda service: numbered(service.pool, "ticket", "ticket_id"),
    )
