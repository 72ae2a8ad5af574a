"""Who may do what at reporting."""

from typing import Final

from shared.http.access import Access

ACCESS: Final = Access(
    {
        "GET /kpi": "agent manager auditor admin",
        "GET /tickets/{id}/timeline": "requester:own agent manager auditor admin",
        "GET /audit": "auditor admin",
        "POST /audit/checkpoints": "auditor admin",
    },
    {"own": "tickets whose requester they are, and of these what is public"},
)
