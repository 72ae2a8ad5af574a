"""Intake over HTTP, one module per subject; `lists` answers questions for many."""

from services.intake.api.sources import source_routes
from services.intake.api.tickets import Intake

__all__ = ["Intake", "source_routes"]
