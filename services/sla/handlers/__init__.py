"""Sla's commands, one module per subject."""

from services.sla.handlers.agreements import Agreements, no_agreement
from services.sla.handlers.rules import RulePublisher
from services.sla.handlers.services import ServiceRecords

__all__ = ["Agreements", "RulePublisher", "ServiceRecords", "no_agreement"]
