"""Sla's commands, one module per subject."""

from services.sla.handlers.agreements import Agreements, ReviewResult, no_agreement
from services.sla.handlers.rules import Plan, RulePublisher
from services.sla.handlers.services import ServiceRecords

__all__ = [
    "Agreements",
    "Plan",
    "ReviewResult",
    "RulePublisher",
    "ServiceRecords",
    "no_agreement",
]
