"""Reporting's composition: the only file that puts its parts together."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter

from services.reporting.access import ACCESS
from services.reporting.api import Reporting
from services.reporting.chores import KpiRollups
from services.reporting.handlers import archive
from services.reporting.projections import READ_MODEL
from services.reporting.settings import ReportingSettings
from shared.contracts.registry import TOPICS
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.http.named import numbered
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.version import VERSION


def room() -> Room:
    """Return reporting, its settings read from the environment."""
    settings = ReportingSettings()

    def routers(service: Service) -> Sequence[APIRouter]:
        return [Reporting(service, settings).router()]

    return Room(
        ServiceInfo(
            "reporting",
            "Deskledger reporting",
            VERSION,
            "What happened, and how well.",
            Path(__file__).with_name("examples.json"),
        ),
        Spec(
            name="reporting",
            topics=TOPICS,
            read_model=READ_MODEL,
            archive=archive,
            chores={"rollups": KpiRollups().keep},
            migrations={"reporting": Path(__file__).parent / "migrations"},
        ),
        routers,
        ACCESS,
        lambda service: numbered(service.pool, "ticket", "ticket_id"),
    )
