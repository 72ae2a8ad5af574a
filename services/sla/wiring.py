"""Sla's composition: the only file that puts its parts together."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter

from services.sla.access import ACCESS
from services.sla.api import AgreementRoutes, ClockRoutes, RuleRoutes, ServiceRoutes
from services.sla.chores import Reviewer, add_up_verdicts, count_verdicts
from services.sla.handlers import Agreements, RulePublisher, ServiceRecords
from services.sla.projections import READ_MODEL
from services.sla.queries import live_tickets
from services.sla.reactions import on_due, react
from services.sla.settings import SlaSettings
from shared.contracts.registry import topics_of
from shared.contracts.sla import SlaPolicyPublished
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.http.named import numbered
from shared.journal.history import ImportRules
from shared.runtime.rollups import Rollups
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.version import VERSION


def room() -> Room:
    """Return sla, its settings read from the environment."""
    settings = SlaSettings()

    async def on_start(service: Service) -> None:
        await RulePublisher(service).publish_defaults(settings.zone)

    def routers(service: Service) -> Sequence[APIRouter]:
        return [
            ClockRoutes(service).router(),
            RuleRoutes(service, RulePublisher(service)).router(),
            ServiceRoutes(service, ServiceRecords(service)).router(),
            AgreementRoutes(service, Agreements(service)).router(),
        ]

    return Room(
        ServiceInfo(
            "sla",
            "Deskledger SLA",
            VERSION,
            "Promises: clocks, warnings, breaches.",
            Path(__file__).with_name("examples.json"),
        ),
        Spec(
            name="sla",
            topics=(
                *topics_of("intake"),
                *topics_of("sla"),
                "ticket.prioritized",
                "ticket.assigned",
            ),
            read_model=READ_MODEL,
            react=react,
            on_due=on_due,
            on_start=on_start,
            past=ImportRules(live=live_tickets),
            chores={
                "reviews": Reviewer(),
                "rollups": Rollups(READ_MODEL.fingerprint, count_verdicts, add_up_verdicts).keep,
            },
            turning_points=frozenset({SlaPolicyPublished.TYPE}),
        ),
        routers,
        ACCESS,
        lambda service: numbered(service.pool, "ticket", "ticket_id"),
    )
