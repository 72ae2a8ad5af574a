"""Sla over HTTP, one module per subject."""

from services.sla.api.agreements import AgreementRoutes
from services.sla.api.clocks import ClockRoutes
from services.sla.api.rules import RuleRoutes
from services.sla.api.services import ServiceRoutes

__all__ = ["AgreementRoutes", "ClockRoutes", "RuleRoutes", "ServiceRoutes"]
