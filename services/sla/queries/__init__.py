"""What sla's read model and journal answer, one module per subject."""

from services.sla.queries.agreements import (
    list_remedies,
    read_versions,
    reviewed_periods,
)
from services.sla.queries.attainment import read_attainment
from services.sla.queries.availability import (
    list_maintenance,
    list_outages,
    published_calendars,
    read_availability,
    read_first_teller,
    read_told,
)
from services.sla.queries.clocks import (
    Forecast,
    TicketFacts,
    list_at_risk,
    list_running,
    open_tickets,
    read_facts,
    read_foreign,
    require_seen,
    tickets_under_way,
)
from services.sla.queries.histories import read_created, read_moving
from services.sla.queries.rules import load_rules, read_publications
from services.sla.queries.tickets import (
    NamedAtRisk,
    NamedChange,
    NamedClock,
    live_tickets,
    with_names,
)

__all__ = [
    "Forecast",
    "NamedAtRisk",
    "NamedChange",
    "NamedClock",
    "TicketFacts",
    "list_at_risk",
    "list_maintenance",
    "list_outages",
    "list_remedies",
    "list_running",
    "live_tickets",
    "load_rules",
    "open_tickets",
    "published_calendars",
    "read_attainment",
    "read_availability",
    "read_created",
    "read_facts",
    "read_first_teller",
    "read_foreign",
    "read_moving",
    "read_publications",
    "read_told",
    "read_versions",
    "require_seen",
    "reviewed_periods",
    "tickets_under_way",
    "with_names",
]
