"""Intake's composition: the only file that puts its parts together."""

from collections.abc import Sequence

from fastapi import APIRouter

from services.intake.api import Intake
from services.intake.handlers import DECIDER, Tickets
from services.intake.projections import READ_MODEL
from services.intake.reactions import make_react
from services.intake.settings import IntakeSettings
from shared.contracts.registry import INBOUND, topics_of
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.journal.handler import CommandHandler
from shared.runtime.numbers import Numbers
from shared.runtime.service import Service, Spec
from shared.version import VERSION

_RANKING = ("ticket.prioritized", "ticket.assigned", "ticket.escalated")


def room() -> Room:
    """Return intake, its settings read from the environment."""
    settings = IntakeSettings()

    def routers(service: Service) -> Sequence[APIRouter]:
        handler = CommandHandler(DECIDER, service.committer, service.pool)
        tickets = Tickets(handler, Numbers(service.pool), settings, service.pool)
        return [Intake(tickets, service.pool, service.clock).router()]

    return Room(
        ServiceInfo("intake", "Deskledger intake", VERSION, "The desk's door: tickets in and out."),
        Spec(
            name="intake",
            topics=(INBOUND, *topics_of("intake"), *_RANKING),
            read_model=READ_MODEL,
            react=make_react(settings),
        ),
        routers,
    )
